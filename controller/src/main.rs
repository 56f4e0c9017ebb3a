//! The `tidegate-controller` binary: see `--help`.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use kube::Client;
use tidegate_controller::config::{Arguments, Config};
use tidegate_controller::logging;
use tidegate_controller::run::run;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_level, arguments.log_format);
    // An error means that it was installed before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            tracing::error!(error = message, "the controller ends");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop: work under way is finished");
            asked.cancel();
        });
        let client = Client::try_default().await?;
        let listener = TcpListener::bind(arguments.metrics_address).await?;
        Ok(run(Config::from(arguments), client, listener, stop).await?)
    })
}
