//! The forms of what says where state is kept, and where a job starts from.

use super::{Test, TextRule, VISIBLE, Wording, discreet, on_clusters, quoted, unquoted, when};

/// In an authority, or in a parameter of an S3 URL, whose values need no `@`. The runtime decodes
/// parameters.
const CREDENTIALS: Test = Test::Lacks(concat!(
    r"^[^/?#]*//[^/?#]*(@|%(25)*40)",
    r"|^s3a?://[^?]*\?.*(@|%(25)*40)",
));
pub(crate) const S3: Test = Test::Has(r"^s3a?://");
const FILE: Test = Test::Has(r"^file:");
const URL: Test = Test::Has("://");
const PATH: Test = Test::Lacks("://");
const FOLDER: Test = Test::Has("^(file://)?/");
/// Where a part of a path, up to a query or a checkpoint's number, is `.` or `..`.
const UPWARD: Test = Test::Lacks(r"^[^?#]*/\.{1,2}(/|\?|#|$)");

const STORAGE_FORMS: &str = "use s3://bucket/prefix, file:///folder or an absolute path";

pub(crate) const STORAGE_URL: &[TextRule] = &[
    unquoted(VISIBLE, "it is empty", STORAGE_FORMS),
    unquoted(
        CREDENTIALS,
        "it holds credentials",
        "remove them, and name a Secret that has them in secretRef",
    ),
    when(
        URL,
        discreet(
            Test::Has("^(s3a?|file)://"),
            "has a scheme that is not supported",
            STORAGE_FORMS,
        ),
    ),
    on_clusters(when(
        PATH,
        discreet(
            Test::Has(r"^/|^\s*$"),
            "is neither a URL nor an absolute path",
            STORAGE_FORMS,
        ),
    )),
    when(
        S3,
        discreet(
            Test::Has(concat!(
                r"^s3a?://([a-z0-9][-a-z0-9._]{1,61}[a-z0-9]([/?]|$)",
                r"|[^/?#]*(@|%(25)*40))",
            )),
            "names no bucket",
            "a bucket has 3 to 63 lower-case letters, digits, dots and hyphens, as in \
             s3://my-bucket/prefix",
        ),
    ),
    when(
        S3,
        discreet(
            Test::Lacks(r"^s3a?://[^/?#]*\.\."),
            "has two dots beside each other in its bucket",
            "a bucket has one between two words, as in s3://my.bucket/prefix",
        ),
    ),
    when(
        S3,
        discreet(
            Test::Lacks(r"^s3a?://[^?]*([\s#]|/\.{1,2}(/|\?|$)|[^/?]//+[^/?])"),
            "has an unusable prefix",
            "write it without white space, #, //, . and .., as in s3://my-bucket/team/jobs",
        ),
    ),
    when(
        S3,
        unquoted(
            Test::Has(concat!(
                r"^[^?]*(\?((endpoint=https?(:|%3[Aa])(/|%2[Ff]){2}[^&#\s]+|region=[^&#\s]+",
                "|virtualHost=(true|false))(&|$))*)?$",
            )),
            "it has unknown parameters, or one with an unusable value",
            "use endpoint=https://host:port, region=name and virtualHost=true, or the fields \
             beside url",
        ),
    ),
    when(
        S3,
        discreet(
            Test::Lacks("[?&](endpoint=.*&endpoint|region=.*&region|virtualHost=.*&virtualHost)="),
            "gives a parameter twice",
            "keep one of the two",
        ),
    ),
    when(
        FILE,
        discreet(
            Test::Has("^file:///"),
            "has a host where a folder belongs",
            "write three slashes, as in file:///data/jobs",
        ),
    ),
    // The runtime decodes a file URL: an encoded dot or slash would pass the rules below.
    when(
        FILE,
        discreet(
            Test::Lacks("%(2[D-Fd-f]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])"),
            "has an encoded letter, digit, dot, hyphen or slash",
            "write it as it is, as in file:///data/jobs",
        ),
    ),
    when(
        FOLDER,
        discreet(
            Test::Has(r"^(file://)?/.*[^/\s]"),
            "is the root folder",
            "name a folder below it, as in file:///data/jobs",
        ),
    ),
    when(
        FOLDER,
        discreet(
            Test::Lacks(r"/\.{1,2}(/|$)"),
            "has an unusable path",
            "write it without . and .., as in file:///data/jobs",
        ),
    ),
    on_clusters(when(
        FOLDER,
        discreet(
            Test::Lacks("^(file://)?/+tmp(/|$)"),
            "lies in /tmp, which goes with the pod",
            "use a bucket, or a folder on a volume that podTemplate mounts",
        ),
    )),
];

pub(crate) const ENDPOINT: &[TextRule] = &[
    unquoted(
        Test::Lacks("@|%(25)*40"),
        "it holds credentials",
        "remove them, and name a Secret that has them in secretRef",
    ),
    quoted(
        Test::Has(concat!(
            r"@|%(25)*40",
            r"|^https?://([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\[[A-Fa-f0-9:.]+\])",
            // From 1 to 65535.
            r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]",
            r"|6553[0-5]))?",
            r"(/[^\s?#]*)?$",
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
        CREDENTIALS,
        "it holds credentials",
        "remove them; the job reads other jobs' folders with its own",
    ),
    on_clusters(discreet(
        Test::Has(concat!(
            r"^(Latest|Empty|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            r"|[a-z0-9]*://[^/]*(@|%(25)*40).*",
            r"|(s3a?://|file:///|/)[^#\s]*[^#\s/]/*(#[1-9][0-9]{0,18})?)$",
        )),
        NO_START_FROM,
        START_FROM_REMEDY,
    )),
    on_clusters(discreet(
        UPWARD,
        "has an unusable path",
        "write it without . and .., as status.latestCheckpoint.location has it",
    )),
    discreet(
        Test::Has(r"[:/]|^.{0,63}$"),
        "is too long for a checkpoint's name",
        "kubectl get checkpoints lists those that there are",
    ),
    when(
        Test::Has("^(?i:latest|empty)$"),
        discreet(
            Test::Has("^(Latest|Empty)$"),
            NO_START_FROM,
            START_FROM_REMEDY,
        ),
    ),
];
