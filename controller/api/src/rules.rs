//! The rules of a spec that a schema's bounds cannot say: the form of each text, and what fields
//! must be to each other. Each with the words that it is refused with.
//!
//! They are held twice: by the API server, as CEL that [`crate::crd`] makes of them, and by
//! [`crate::validate`]. The words and the patterns stand here alone, and one table of bad specs,
//! `controller/api/tests/invalid_specs.yaml`, is tried on both.

use regex_lite::Regex;

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

/// One rule of a text's form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextRule {
    /// Which texts it is about; all when absent.
    pub(crate) when: Option<Test>,
    /// What must hold for them.
    pub(crate) test: Test,
    /// What a refusal says. Its problem goes on from the text in quotes if [`Self::is_quoted`].
    pub(crate) wording: Wording,
    /// Whether a refusal may show the text.
    pub(crate) is_quoted: bool,
    /// Whether it holds on a cluster only.
    pub(crate) is_for_clusters: bool,
}

impl TextRule {
    pub(crate) fn refuses(&self, text: &str) -> bool {
        self.when.is_none_or(|when| when.holds(text)) && !self.test.holds(text)
    }
}

const fn quoted(test: Test, problem: &'static str, remedy: &'static str) -> TextRule {
    TextRule {
        when: None,
        test,
        wording: Wording { problem, remedy },
        is_quoted: true,
        is_for_clusters: false,
    }
}

const fn unquoted(test: Test, problem: &'static str, remedy: &'static str) -> TextRule {
    TextRule {
        is_quoted: false,
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

const USER_INFO: Test = Test::Lacks(r"^[^/?#]*//[^/?#]*@");
pub(crate) const S3: Test = Test::Has(r"^s3a?://");
const FILE: Test = Test::Has(r"^file:");
const URL: Test = Test::Has("://");
const PATH: Test = Test::Lacks("://");

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

const STORAGE_FORMS: &str = "use s3://bucket/prefix, file:///folder or an absolute path";

pub(crate) const STORAGE_URL: &[TextRule] = &[
    unquoted(VISIBLE, "it is empty", STORAGE_FORMS),
    unquoted(
        USER_INFO,
        "it holds credentials",
        "remove them, and name a Secret that has them in secretRef",
    ),
    when(
        URL,
        quoted(
            Test::Has("^(s3a?|file)://"),
            "has a scheme that is not supported",
            STORAGE_FORMS,
        ),
    ),
    on_clusters(when(
        PATH,
        quoted(
            Test::Has(r"^/|^\s*$"),
            "is neither a URL nor an absolute path",
            STORAGE_FORMS,
        ),
    )),
    when(
        S3,
        quoted(
            Test::Has(r"^s3a?://([a-z0-9][-a-z0-9._]{1,61}[a-z0-9]([/?]|$)|[^/?#]*@)"),
            "names no bucket",
            "a bucket has 3 to 63 lower-case letters, digits, dots and hyphens, as in \
             s3://my-bucket/prefix",
        ),
    ),
    when(
        S3,
        quoted(
            Test::Lacks(r"^s3a?://[^?]*([\s#]|/\.{1,2}(/|\?|$)|[^/?]//+[^/?])"),
            "has an unusable prefix",
            "write it without white space, #, //, . and .., as in s3://my-bucket/team/jobs",
        ),
    ),
    when(
        S3,
        unquoted(
            Test::Has(r"^[^?]*(\?((endpoint|region|virtualHost)=[^&#\s]+(&|$))*)?$"),
            "it has unknown parameters",
            "use endpoint, region and virtualHost, or the fields beside url",
        ),
    ),
    when(
        FILE,
        quoted(
            Test::Has("^file:///"),
            "has a host where a folder belongs",
            "write three slashes, as in file:///data/jobs",
        ),
    ),
    when(
        Test::Has("^(file://)?/"),
        quoted(
            Test::Has(r"^(file://)?/.*[^/\s]"),
            "is the root folder",
            "name a folder below it, as in file:///data/jobs",
        ),
    ),
];

pub(crate) const ENDPOINT: &[TextRule] = &[
    unquoted(
        USER_INFO,
        "it holds credentials",
        "remove them, and name a Secret that has them in secretRef",
    ),
    quoted(
        Test::Has(concat!(
            r"^[^/]*//[^/]*@|^https?://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?",
            r"|\[[A-Fa-f0-9:.]+\])(:[0-9]{1,5})?(/[^\s?#]*)?$",
        )),
        "is no endpoint",
        "write it as in https://minio.example:9000",
    ),
];

pub(crate) const REGION: &[TextRule] = &[quoted(
    Test::Has(r"^[-A-Za-z0-9]+$"),
    "is no region",
    "write it as in eu-west-1, or remove it",
)];

pub(crate) const SECRET_NAME: &[TextRule] = &[quoted(
    Test::Has(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
    "is no Secret's name",
    "name a Secret in the job's namespace, or remove secretRef",
)];

pub(crate) const ONLY_S3: Wording = Wording {
    problem: "it has a meaning for s3:// only",
    remedy: "remove it, or change url",
};

pub(crate) const START_FROM_REMEDY: &str = "use Latest, Empty, a checkpoint's name such as \
     my-job-42, or a URL such as s3://bucket/prefix/namespace/my-job#42";
const NO_START_FROM: &str =
    "is neither Latest, nor Empty, nor a checkpoint's name, nor the URL of a job's folder";

/// [`crate::start_from::StartFrom`] reads what they let pass, and a relative path besides.
pub(crate) const START_FROM: &[TextRule] = &[
    unquoted(
        USER_INFO,
        "it holds credentials",
        "remove them; the job reads other jobs' folders with its own",
    ),
    on_clusters(quoted(
        Test::Has(concat!(
            r"^(Latest|Empty|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            r"|[a-z0-9]*://[^/]*@.*|(s3a?://|file:///|/)[^#\s]*[^#\s/]/*(#[1-9][0-9]{0,18})?)$",
        )),
        NO_START_FROM,
        START_FROM_REMEDY,
    )),
    when(
        Test::Has("^(?i:latest|empty)$"),
        quoted(
            Test::Has("^(Latest|Empty)$"),
            NO_START_FROM,
            START_FROM_REMEDY,
        ),
    ),
];

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
    problem: "another checkpoint.storage.url leaves the state behind",
    remedy: "set startFrom in the same change: to status.latestCheckpoint.location to take the \
             state along, or to Empty",
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

pub(crate) const TEMPLATE_OBJECT: Wording = Wording {
    problem: "it is no object",
    remedy: "write it as in podTemplate: {spec: {nodeSelector: {…}}}",
};

pub(crate) const TEMPLATE_MEMBER: Wording = Wording {
    problem: "there is no such field in a pod template",
    remedy: "put it under spec, or labels and annotations under metadata",
};

/// The folder of what the controller mounts, and the prefix of its volumes' names.
pub(crate) const RUNTIME_FOLDER: &str = "/etc/tidegate";
pub(crate) const RESERVED_VOLUME_PREFIX: &str = "tidegate-";
pub(crate) const RESERVED_LABEL_PREFIX: &str = "tidegate.dev/";

pub(crate) const TEMPLATE_LABEL: Wording = Wording {
    problem: "labels that begin with tidegate.dev/ belong to the controller",
    remedy: "use another prefix",
};

pub(crate) const TEMPLATE_JOB_CONTAINER: Wording = Wording {
    problem: "the container job takes its image, command, args and ports from elsewhere",
    remedy: "set image, command and args in spec.program, and leave ports out",
};

pub(crate) const TEMPLATE_ENV: Wording = Wording {
    problem: "variables of the container job that begin with TIDEGATE_ belong to the runtime",
    remedy: "use a name without the prefix",
};

pub(crate) const TEMPLATE_MOUNT: Wording = Wording {
    problem: "/etc/tidegate belongs to the runtime",
    remedy: "mount it elsewhere",
};

pub(crate) const TEMPLATE_PORT: Wording = Wording {
    problem: "the ports 8080 and 8443 belong to the job",
    remedy: "let the container listen at another one",
};

pub(crate) const TEMPLATE_INIT_CONTAINER: Wording = Wording {
    problem: "the name job belongs to the job's container",
    remedy: "give the init container another one",
};

pub(crate) const TEMPLATE_VOLUME: Wording = Wording {
    problem: "volumes whose names begin with tidegate- belong to the controller",
    remedy: "use another name",
};

pub(crate) const TEMPLATE_RESTART: Wording = Wording {
    problem: "a job's pods are restarted always",
    remedy: "remove restartPolicy; spec.restart says how often the job is started again",
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

pub(crate) const CONTAINER_NAME: &[TextRule] = &[quoted(
    Test::Has(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
    "cannot name a container or volume",
    "use at most 63 lower-case letters, digits and hyphens, with no hyphen at an end",
)];

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

    fn refusals(rules: &[TextRule], text: &str) -> Vec<&'static str> {
        let refused = rules.iter().filter(|rule| rule.refuses(text));
        refused.map(|rule| rule.wording.problem).collect()
    }

    #[test]
    fn every_pattern_compiles_and_can_stand_in_a_raw_literal_of_cel() {
        for rule in ALL.iter().copied().flatten() {
            for test in [Some(rule.test), rule.when].into_iter().flatten() {
                test.holds("");
                let (Test::Has(pattern) | Test::Lacks(pattern)) = test;
                assert!(!pattern.contains('\''), "{pattern}");
            }
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
    #[case::endpoint(ENDPOINT, "http://minio_1:9000/")]
    #[case::endpoint_six(ENDPOINT, "https://[::1]:9000")]
    #[case::latest(START_FROM, "Latest")]
    #[case::name(START_FROM, "word-count-42")]
    #[case::dots(START_FROM, "before.upgrade")]
    #[case::newest(START_FROM, "s3://bucket/p/default/job")]
    #[case::number(START_FROM, "s3://bucket/default/job?region=eu#42")]
    #[case::path(START_FROM, "/data/default/job#1")]
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
    #[case::host(STORAGE_URL, "file://host/data")]
    #[case::one_slash(STORAGE_URL, "file:/data")]
    #[case::root(STORAGE_URL, "/")]
    #[case::root_url(STORAGE_URL, "file:///")]
    #[case::port(ENDPOINT, "https://host:port")]
    #[case::query(ENDPOINT, "https://host/?x")]
    #[case::user(ENDPOINT, "https://key:secret@host")]
    #[case::zero(START_FROM, "s3://bucket/default/job#0")]
    #[case::word(START_FROM, "s3://bucket/default/job#newest")]
    #[case::case(START_FROM, "latest")]
    #[case::bare(START_FROM, "s3://")]
    #[case::user(START_FROM, "s3://key:secret@bucket/job")]
    fn what_cannot_be_used_is_refused_once(#[case] rules: &[TextRule], #[case] text: &str) {
        let found = refusals(rules, text);
        // A relative scheme such as file:/data is no URL either.
        assert!(!found.is_empty() && found.len() <= 2, "{found:?}");
        let is_secret = text.contains("secret");
        let shown = rules
            .iter()
            .any(|rule| rule.refuses(text) && rule.is_quoted);
        assert!(!(is_secret && shown), "{text} would be shown");
    }
}
