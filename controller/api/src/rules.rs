//! The rules of a spec that a schema's bounds cannot say: the form of each text, and what fields
//! must be to each other. Each with the words that it is refused with.
//!
//! They are held twice: by the API server, as CEL that [`crate::crd`] makes of them, and by
//! [`crate::validate`]. The words and the patterns stand here alone, and one table of bad specs,
//! `controller/api/tests/invalid_specs.yaml`, is tried on both.

mod storage;
mod template;

use regex_lite::Regex;

pub(crate) use storage::*;
pub(crate) use template::*;

/// What a refusal says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wording {
    /// What is wrong.
    pub(crate) problem: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

impl Wording {
    #[cfg(feature = "crd")]
    pub(crate) fn message(&self) -> String {
        format!("{}; {}", self.problem, self.remedy)
    }
}

/// A test of a text by a pattern that RE2 and this crate's engine read alike.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test {
    /// The pattern is found in it.
    Has(&'static str),
    /// The pattern is not found in it.
    Lacks(&'static str),
}

impl Test {
    pub(crate) fn holds(self, text: &str) -> bool {
        let found = |pattern| {
            let regex =
                Regex::new(pattern).expect("the patterns of rules are all compiled by a test");
            regex.is_match(text)
        };
        match self {
            Self::Has(pattern) => found(pattern),
            Self::Lacks(pattern) => !found(pattern),
        }
    }
}

/// Whether a refusal begins with the text that it is about, in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    Always,
    /// Unless credentials may stand in it, wherever: then it begins with "it".
    UnlessSecret,
    /// The problem is a sentence of its own.
    Never,
}

/// What a text has that credentials may stand in.
pub(crate) const MAYBE_SECRET: Test = Test::Has("@|%(25)*40");

/// One rule of a text's form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextRule {
    /// Which texts it is about; all when absent.
    pub(crate) when: Option<Test>,
    /// What must hold for them.
    pub(crate) test: Test,
    /// What a refusal says. Its problem goes on from the text, unless that is never quoted.
    pub(crate) wording: Wording,
    /// Whether a refusal shows the text.
    pub(crate) quote: Quote,
    /// Whether it holds on a cluster only.
    pub(crate) is_for_clusters: bool,
}

impl TextRule {
    pub(crate) fn refuses(&self, text: &str) -> bool {
        self.when.is_none_or(|when| when.holds(text)) && !self.test.holds(text)
    }

    /// What is wrong with a text that this refuses.
    pub(crate) fn problem(&self, text: &str) -> String {
        let problem = self.wording.problem;
        match self.quote {
            Quote::Never => problem.to_owned(),
            Quote::UnlessSecret if MAYBE_SECRET.holds(text) => format!("it {problem}"),
            Quote::Always | Quote::UnlessSecret => format!("{text:?} {problem}"),
        }
    }
}

const fn quoted(test: Test, problem: &'static str, remedy: &'static str) -> TextRule {
    TextRule {
        when: None,
        test,
        wording: Wording { problem, remedy },
        quote: Quote::Always,
        is_for_clusters: false,
    }
}

const fn discreet(test: Test, problem: &'static str, remedy: &'static str) -> TextRule {
    TextRule {
        quote: Quote::UnlessSecret,
        ..quoted(test, problem, remedy)
    }
}

const fn unquoted(test: Test, problem: &'static str, remedy: &'static str) -> TextRule {
    TextRule {
        quote: Quote::Never,
        ..quoted(test, problem, remedy)
    }
}

const fn when(when: Test, rule: TextRule) -> TextRule {
    TextRule {
        when: Some(when),
        ..rule
    }
}

const fn on_clusters(rule: TextRule) -> TextRule {
    TextRule {
        is_for_clusters: true,
        ..rule
    }
}

/// Something else than white space.
pub(crate) const VISIBLE: Test = Test::Has(r"\S");

/// A job's name stands in names of objects and in label values, with a hyphen and up to ten
/// characters behind it, and may become a Service's, which a letter begins.
pub(crate) const JOB_NAME: &[TextRule] = &[quoted(
    Test::Has(r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$"),
    "cannot name a job",
    "use at most 52 lower-case letters, digits and hyphens, with a letter first and no hyphen last",
)];

pub(crate) const SQL: &[TextRule] = &[unquoted(
    VISIBLE,
    "it is empty",
    "write the job's statements",
)];

/// As container runtimes read it: an optional registry, a lower-case path, a tag, a digest.
pub(crate) const IMAGE: &[TextRule] = &[quoted(
    Test::Has(concat!(
        r"^(([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[A-Fa-f0-9:]+\])(:[0-9]+)?/)?",
        r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*",
        r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?",
        r"(@[A-Za-z][A-Za-z0-9]*([-+._][A-Za-z][A-Za-z0-9]*)*:[A-Fa-f0-9]{32,256})?$",
    )),
    "is no container image",
    "name one as in registry.example/team/my-job:1.0",
)];

pub(crate) const COMMAND: Wording = Wording {
    problem: "its first entry is empty",
    remedy: "name the program, or leave command out to run the image's entry point",
};

pub(crate) const ENV_NAME: &[TextRule] = &[
    quoted(
        Test::Has(r"^[A-Za-z_][-A-Za-z0-9_.]*$"),
        "is no variable's name",
        "use letters, digits, underscores, hyphens and dots, no digit first",
    ),
    RESERVED_ENV,
];

pub(crate) const RESERVED_ENV: TextRule = quoted(
    Test::Lacks("^TIDEGATE_"),
    "belongs to the runtime",
    "use a name without the prefix TIDEGATE_",
);

pub(crate) const NO_LOGIC: Wording = Wording {
    problem: "neither sql nor program is given",
    remedy: "give one of them, as in program: {image: my-job:1.0}",
};

pub(crate) const TWO_LOGICS: Wording = Wording {
    problem: "both sql and program are given",
    remedy: "remove one of them",
};

pub(crate) const PARALLELISM: Wording = Wording {
    problem: "it exceeds maxParallelism",
    remedy: "lower it, or create a job with a higher maxParallelism",
};

pub(crate) const FIXED_MAX_PARALLELISM: Wording = Wording {
    problem: "maxParallelism is fixed, because the state is divided by it",
    remedy: "keep it, or create a job under another name",
};

/// Only the API server holds it, where the status tells whether there is state.
#[cfg(feature = "crd")]
pub(crate) const MOVED_STORAGE: Wording = Wording {
    problem: "another checkpoint.storage.url or endpoint leaves the state behind",
    remedy: "set startFrom in the same change: to status.latestCheckpoint.location up to its # to \
             take the state along, or to Empty",
};

pub(crate) const MIN_PAUSE: Wording = Wording {
    problem: "it exceeds the interval, which could then never be kept",
    remedy: "lower it, or lengthen the interval",
};

pub(crate) const MAX_DELAY: Wording = Wording {
    problem: "it is below initialDelayMilliseconds",
    remedy: "raise it, or lower initialDelayMilliseconds",
};

pub(crate) const STATELESS: Wording = Wording {
    problem: "Stateless contradicts a startFrom that names state",
    remedy: "set startFrom to Latest or Empty, or choose another mode",
};

/// Resources without a domain, besides huge pages.
pub(crate) const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
pub(crate) const HUGE_PAGES_PREFIX: &str = "hugepages-";

pub(crate) const RESOURCE_NAME: Wording = Wording {
    problem: "it has a resource that Kubernetes does not know",
    remedy: "use cpu, memory, ephemeral-storage, hugepages-2Mi, or a name with a domain as in \
             example.com/gpu",
};

pub(crate) const MEMORY: Wording = Wording {
    problem: "a job cannot run in less than 4Mi of memory",
    remedy: "give more, and mind the unit: 512Mi, since 512m is half a byte",
};

/// The least memory, for CEL and in billionths of a byte.
pub(crate) const LEAST_MEMORY: (&str, i128) = ("4Mi", 4 * 1024 * 1024 * 1_000_000_000);

pub(crate) const REQUESTS: Wording = Wording {
    problem: "a request exceeds its limit",
    remedy: "lower it, or raise the limit",
};

pub(crate) const QUANTITY: Wording = Wording {
    problem: "is no amount",
    remedy: "write a number and a unit, as in 500m, 2, 1.5, 512Mi or 2Gi",
};

/// What only the API server holds, since nobody else meets a checkpoint that is applied.
#[cfg(feature = "crd")]
pub(crate) const CHECKPOINT_NAME: Wording = Wording {
    problem: "cannot name a checkpoint",
    remedy: "use at most 63 characters, and neither latest nor empty, which startFrom takes for \
             words",
};

#[cfg(feature = "crd")]
pub(crate) const CHECKPOINT_NUMBER: Wording = Wording {
    problem: "is of the form that checkpoints have which the job takes by itself",
    remedy: "name a savepoint as in before-upgrade",
};

#[cfg(feature = "crd")]
pub(crate) const CHECKPOINT_JOB: Wording = Wording {
    problem: "jobName is fixed",
    remedy: "create another checkpoint for another job",
};

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ALL: &[&[TextRule]] = &[
        JOB_NAME,
        SQL,
        IMAGE,
        ENV_NAME,
        STORAGE_URL,
        ENDPOINT,
        REGION,
        SECRET_NAME,
        START_FROM,
        CONTAINER_NAME,
    ];

    const OTHERS: [Test; 4] = [MAYBE_SECRET, RUNTIME_MOUNT, SCRATCH_MOUNT, UPWARD_MOUNT];

    fn refusals(rules: &[TextRule], text: &str) -> Vec<&'static str> {
        let refused = rules.iter().filter(|rule| rule.refuses(text));
        refused.map(|rule| rule.wording.problem).collect()
    }

    #[test]
    fn every_pattern_compiles_and_can_stand_in_a_raw_literal_of_cel() {
        let rules = ALL.iter().copied().flatten();
        let tests = rules
            .flat_map(|rule| [Some(rule.test), rule.when])
            .flatten();
        for test in tests.chain(OTHERS) {
            test.holds("");
            let (Test::Has(pattern) | Test::Lacks(pattern)) = test;
            assert!(!pattern.contains('\''), "{pattern}");
        }
    }

    #[rstest]
    #[case::plain(IMAGE, "word-count")]
    #[case::tag(IMAGE, "registry.example/team/word-count:1.0")]
    #[case::port(IMAGE, "localhost:5000/x_y/z__w/a-b:V1")]
    #[case::six(IMAGE, "[2001:db8::1]:5000/x")]
    #[case::digest(
        IMAGE,
        "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )]
    #[case::short(JOB_NAME, "a")]
    #[case::longest(JOB_NAME, "a234567890123456789012345678901234567890123456789012")]
    #[case::bucket(STORAGE_URL, "s3://bucket")]
    #[case::prefix(STORAGE_URL, "s3://my.bucket/a/b_c/")]
    #[case::parameters(
        STORAGE_URL,
        "s3://bucket/a?endpoint=http://h:1&region=eu&virtualHost=true"
    )]
    #[case::email(STORAGE_URL, "s3://bucket/a@b")]
    #[case::folder(STORAGE_URL, "/data")]
    #[case::file(STORAGE_URL, "file:///data/my%20jobs")]
    #[case::colon(STORAGE_URL, "/data/a:b")]
    #[case::dotted(STORAGE_URL, "/data/.hidden/a..b/...")]
    #[case::encoded(STORAGE_URL, "file:///data/100%25/a%3Fb%252f")]
    #[case::below(STORAGE_URL, "/data/tmp")]
    #[case::longer(STORAGE_URL, "file:///tmpfs/jobs")]
    #[case::at(STORAGE_URL, "/data/a?b@c")]
    #[case::encoded_parameter(STORAGE_URL, "s3://bucket?endpoint=http%3A%2f%2Fminio:9000/x&")]
    #[case::endpoint(ENDPOINT, "http://minio_1:9000/")]
    #[case::endpoint_six(ENDPOINT, "https://[::1]:9000")]
    #[case::endpoint_port(ENDPOINT, "https://host:1")]
    #[case::endpoint_last_port(ENDPOINT, "https://host:65535/x/y")]
    #[case::latest(START_FROM, "Latest")]
    #[case::name(START_FROM, "word-count-42")]
    #[case::dots(START_FROM, "before.upgrade")]
    #[case::newest(START_FROM, "s3://bucket/p/default/job")]
    #[case::number(START_FROM, "s3://bucket/default/job?region=eu#42")]
    #[case::path(START_FROM, "/data/default/job#1")]
    #[case::below_dots(START_FROM, "s3://bucket/..a/b../job?endpoint=http://h/../x#1")]
    fn what_can_be_used_is_accepted(#[case] rules: &[TextRule], #[case] text: &str) {
        assert_eq!(refusals(rules, text), Vec::<&str>::new());
    }

    #[rstest]
    #[case::upper(IMAGE, "Word-Count")]
    #[case::tag(IMAGE, "x:")]
    #[case::scheme(IMAGE, "https://registry.example/x")]
    #[case::end(IMAGE, "x:1.0\n")]
    #[case::digest(IMAGE, "x@sha256:12")]
    #[case::name(JOB_NAME, "a2345678901234567890123456789012345678901234567890123")]
    #[case::digit(JOB_NAME, "1a")]
    #[case::dot(JOB_NAME, "a.b")]
    #[case::relative(STORAGE_URL, "data")]
    #[case::scheme(STORAGE_URL, "gs://bucket")]
    #[case::upper_bucket(STORAGE_URL, "s3://Bucket")]
    #[case::short_bucket(STORAGE_URL, "s3://ab/c")]
    #[case::dots(STORAGE_URL, "s3://bucket/a/../b")]
    #[case::dots_last(STORAGE_URL, "s3://bucket/..")]
    #[case::slashes(STORAGE_URL, "s3://bucket/a//b")]
    #[case::hash(STORAGE_URL, "s3://bucket/a#b")]
    #[case::key(STORAGE_URL, "s3://bucket/a?secretKey=x")]
    #[case::credentials(STORAGE_URL, "s3://key:secret@bucket/a")]
    #[case::credentials_encoded(STORAGE_URL, "s3://key:secret%40bucket/a")]
    #[case::credentials_slash(STORAGE_URL, "s3://key:sec/secret@bucket/a")]
    #[case::credentials_scheme(STORAGE_URL, "gs://bucket/key:secret@x")]
    #[case::credentials_endpoint(
        STORAGE_URL,
        "s3://bucket/a?region=eu&endpoint=http://key:secret@minio:9000"
    )]
    #[case::credentials_endpoint_encoded(
        STORAGE_URL,
        "s3a://bucket?endpoint=http%3A%2F%2Fkey:secret%2540minio"
    )]
    #[case::credentials_and_bucket(STORAGE_URL, "s3://B?endpoint=http://key:secret@minio")]
    #[case::no_endpoint(STORAGE_URL, "s3://bucket/a?endpoint=junk")]
    #[case::two_endpoints(STORAGE_URL, "s3://bucket?endpoint=http://a&endpoint=http://b")]
    #[case::two_regions(STORAGE_URL, "s3://bucket?region=a&endpoint=http://b&region=a")]
    #[case::virtual_host(STORAGE_URL, "s3://bucket/a?virtualHost=1")]
    #[case::two_dots(STORAGE_URL, "s3://my..bucket/a")]
    #[case::host(STORAGE_URL, "file://host/data")]
    #[case::one_slash(STORAGE_URL, "file:/data")]
    #[case::root(STORAGE_URL, "/")]
    #[case::root_url(STORAGE_URL, "file:///")]
    #[case::above_root(STORAGE_URL, "file:///..")]
    #[case::root_again(STORAGE_URL, "/.")]
    #[case::upward_last(STORAGE_URL, "/data/..")]
    #[case::upward(STORAGE_URL, "file:///a/../b")]
    #[case::encoded_slash(STORAGE_URL, "file:///a%2fb")]
    #[case::encoded_dots(STORAGE_URL, "file:///a/%2E%2e/b")]
    #[case::encoded_letter(STORAGE_URL, "file:///%74mp/a")]
    #[case::scratch(STORAGE_URL, "/tmp")]
    #[case::below_scratch(STORAGE_URL, "//tmp/jobs")]
    #[case::scratch_url(STORAGE_URL, "file:///tmp/")]
    #[case::port(ENDPOINT, "https://host:port")]
    #[case::port_zero(ENDPOINT, "https://host:0")]
    #[case::port_beyond(ENDPOINT, "https://host:65536")]
    #[case::port_long(ENDPOINT, "https://[::1]:99999/")]
    #[case::query(ENDPOINT, "https://host/?x")]
    #[case::user(ENDPOINT, "https://key:secret@host")]
    #[case::user_encoded(ENDPOINT, "https://key:secret%40host")]
    #[case::user_alone(ENDPOINT, "key:secret@host")]
    #[case::zero(START_FROM, "s3://bucket/default/job#0")]
    #[case::word(START_FROM, "s3://bucket/default/job#newest")]
    #[case::case(START_FROM, "latest")]
    #[case::upward(START_FROM, "s3://bucket/../job#1")]
    #[case::upward_last(START_FROM, "/data/default/..#1")]
    #[case::long(
        START_FROM,
        "a2345678901234567890123456789012345678901234567890123456789-1234"
    )]
    #[case::bare(START_FROM, "s3://")]
    #[case::user(START_FROM, "s3://key:secret@bucket/job")]
    #[case::user_endpoint(START_FROM, "s3://bucket/job?endpoint=http://key:secret@minio#1")]
    fn what_cannot_be_used_is_refused_once(#[case] rules: &[TextRule], #[case] text: &str) {
        let found = refusals(rules, text);
        // A relative scheme such as file:/data is no URL either.
        assert!(!found.is_empty() && found.len() <= 2, "{found:?}");
        let refused = rules.iter().filter(|rule| rule.refuses(text));
        let told: Vec<String> = refused.map(|rule| rule.problem(text)).collect();
        assert!(!told.concat().contains("secret"), "{told:?}");
    }
}
