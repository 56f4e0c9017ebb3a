//! A job's life with its sink at a store behind a network that fails: crashes at any step, old
//! attempts that commit late, all from one seed.

use tidegate_testkit::Random;

use super::*;

/// Of a thousand requests, so many meet each kind of fault.
const FAULTS_PER_MILLE: u64 = 20;
const ATTEMPTS: u64 = 25;
const SUBTASKS: u32 = 2;

/// The checkpoint log, as far as a sink goes: where its input stood, and its transactions.
#[derive(Default)]
struct Log {
    position: u64,
    transactions: Vec<Value>,
    /// Those of all checkpoints: whoever ran then may commit them at any time.
    earlier: Vec<Vec<Value>>,
}

/// Looks at the bucket all the time until it is told to stop: a file that is there never changes.
async fn watch(fixture: &Fixture, stop: &std::sync::atomic::AtomicBool) {
    let bucket = &fixture.bucket;
    let mut seen = std::collections::HashMap::new();
    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
        for name in fixture.names(false).await {
            let content = bucket.read(&name).await.unwrap().unwrap();
            assert!(content.ends_with(b"\n"), "`{name}` is cut off");
            let first = seen.entry(name).or_insert_with(|| content.clone());
            assert!(*first == content, "a file has changed");
        }
    }
}

/// Runs one attempt until it crashes: its writers are dropped at a random step.
async fn attempt(fixture: &Fixture, number: u64, log: &mut Log, random: &mut Random) -> Result<()> {
    let sink = &fixture.sink;
    sink.recover(fixture.recovery(number), log.transactions.clone())
        .await?;
    let mut writers: Vec<_> = (0..SUBTASKS)
        .map(|index| fixture.writer(number, index))
        .collect();
    let mut position = log.position;
    for checkpoint in 1.. {
        for writer in &mut writers {
            let count = random.below(3) * (1 + random.below(20));
            writer
                .write(&rows(&lines(position, position + count)))
                .await?;
            position += count;
        }
        if random.below(5) == 0 {
            return Ok(());
        }
        let mut transactions = Vec::new();
        for writer in &mut writers {
            transactions.extend(pre_commit(writer, number * 1000 + checkpoint).await?);
        }
        if random.below(5) == 0 {
            return Ok(());
        }
        log.position = position;
        log.transactions = transactions.clone();
        log.earlier.push(transactions.clone());
        if random.below(5) == 0 {
            return Ok(());
        }
        let committing = sink.commit(transactions);
        if random.below(5) == 0 {
            // Killed somewhere in the middle of it.
            let cut = Duration::from_micros(random.below(4000));
            let _ = tokio::time::timeout(cut, committing).await;
            return Ok(());
        }
        committing.await?;
        let old = random.below(log.earlier.len() as u64) as usize;
        sink.commit(log.earlier[old].clone()).await?;
    }
    Ok(())
}

async fn every_line_once(flavour: S3Flavour, seed: u64) {
    let server = S3Server::start(flavour).unwrap();
    let plan = FaultPlan::hostile(seed, FAULTS_PER_MILLE);
    let proxy = FaultProxy::start(server.address(), plan).unwrap();
    let fixture = Fixture::at(server, proxy.endpoint());
    let (mut log, mut random) = (Log::default(), Random::seeded(seed));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let running = async {
        for number in 1..=ATTEMPTS {
            // A network that fails often enough is one more crash.
            let _ = attempt(&fixture, number, &mut log, &mut random).await;
        }
        proxy.release_late();
        proxy.set_plan(FaultPlan::seeded(seed));
        let last = log.transactions.clone();
        fixture
            .sink
            .recover(fixture.recovery(ATTEMPTS + 1), last)
            .await
            .unwrap();
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    tokio::join!(running, watch(&fixture, &stop));
    let mut committed = fixture.committed().await;
    committed.sort();
    assert!(
        committed == lines(0, log.position),
        "seed {seed}: {} lines",
        committed.len()
    );
    assert!(log.position > 100, "{}", log.position);
    assert!(proxy.counts().injected() > 20, "the network hardly failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_at_any_step_and_a_failing_network_change_nothing_with_minio() {
    every_line_once(S3Flavour::Minio, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_at_any_step_and_a_failing_network_change_nothing_with_versitygw() {
    every_line_once(S3Flavour::Versitygw, 6).await;
}
