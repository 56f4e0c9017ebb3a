//! The rules of [`crate::rules`] as CEL, each at its place in a definition's schema.
//!
//! An optional field may be absent or null, so a rule tests both before it reads one. The API
//! server estimates each rule's cost from the schema's bounds, which is why every list and text
//! that a rule walks has some.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};

use crate::rules::{self, Quote, Test, TextRule, Wording};

/// The texts of a stream job, by their places: `[]` is a list's element, `{}` a map's value.
const STREAM_JOB_TEXTS: &[(&str, &[TextRule])] = &[
    ("spec.sql", rules::SQL),
    ("spec.program.image", rules::IMAGE),
    ("spec.program.env.[].name", rules::ENV_NAME),
    ("spec.checkpoint.storage.url", rules::STORAGE_URL),
    ("spec.checkpoint.storage.endpoint", rules::ENDPOINT),
    ("spec.checkpoint.storage.region", rules::REGION),
    ("spec.checkpoint.storage.secretRef.name", rules::SECRET_NAME),
    ("spec.startFrom", rules::START_FROM),
    (
        "spec.podTemplate.spec.containers.[].name",
        rules::CONTAINER_NAME,
    ),
    (
        "spec.podTemplate.spec.initContainers.[].name",
        rules::CONTAINER_NAME,
    ),
    (
        "spec.podTemplate.spec.volumes.[].name",
        rules::CONTAINER_NAME,
    ),
];

pub(super) fn add_to_stream_job(definition: &mut CustomResourceDefinition) {
    let root = root(definition);
    restrict_name(root, "self.metadata.name", rules::JOB_NAME);
    for (path, rules) in STREAM_JOB_TEXTS {
        for rule in *rules {
            add(root, path, text_rule("self", rule));
        }
    }
    add_logic(root);
    add_state(root);
    add_resources(root);
    add_pod_template(root);
}

pub(super) fn add_to_checkpoint(definition: &mut CustomResourceDefinition) {
    let root = root(definition);
    for rule in rules::JOB_NAME {
        add(root, "spec.jobName", text_rule("self", rule));
    }
    add(
        root,
        "spec.jobName",
        rule("self == oldSelf", rules::CHECKPOINT_JOB),
    );
    let name = "self.metadata.name";
    let usable = format!("{name}.size() <= 63 && !({name} in ['latest', 'empty'])");
    add_name_rule(root, quoting(name, rule(&usable, rules::CHECKPOINT_NAME)));
    // The controller writes an object and its status at once; who asks for a savepoint has none.
    let numbered = format!(
        "{} || !{name}.startsWith(self.spec.jobName + '-') \
         || !{name}.substring(self.spec.jobName.size() + 1).matches('^[0-9]+$')",
        given("self.status")
    );
    add_name_rule(
        root,
        quoting(name, rule(&numbered, rules::CHECKPOINT_NUMBER)),
    );
}

fn add_logic(root: &mut JSONSchemaProps) {
    let (sql, program) = (given("self.sql"), given("self.program"));
    let both = format!("!({sql} && {program})");
    add(root, "spec", rule(&both, rules::TWO_LOGICS));
    add(
        root,
        "spec",
        rule(&format!("{sql} || {program}"), rules::NO_LOGIC),
    );
    let first = "self.size() == 0 || self[0].matches(r'\\S')";
    add(root, "spec.program.command", rule(first, rules::COMMAND));
    let parallelism = rule(
        "self.parallelism <= self.maxParallelism",
        rules::PARALLELISM,
    );
    add(root, "spec", of_field(".parallelism", parallelism));
    let fixed = rule("self == oldSelf", rules::FIXED_MAX_PARALLELISM);
    add(root, "spec.maxParallelism", fixed);
    let delay = "self.maxDelaySeconds * 1000 >= self.initialDelayMilliseconds";
    let delay = of_field(".maxDelaySeconds", rule(delay, rules::MAX_DELAY));
    add(root, "spec.restart", delay);
}

fn add_state(root: &mut JSONSchemaProps) {
    let interval = format!(
        "({} ? self.intervalMilliseconds : self.intervalSeconds * 1000)",
        given("self.intervalMilliseconds")
    );
    let pause = format!("{interval} == 0 || self.minPauseSeconds * 1000 <= {interval}");
    let pause = of_field(".minPauseSeconds", rule(&pause, rules::MIN_PAUSE));
    add(root, "spec.checkpoint", pause);
    for field in ["endpoint", "region"] {
        let Test::Has(s3) = rules::S3 else { continue };
        let only = format!(
            "!{} || self.url.matches(r'{s3}')",
            given(&format!("self.{field}"))
        );
        let only = of_field(&format!(".{field}"), rule(&only, rules::ONLY_S3));
        add(root, "spec.checkpoint.storage", only);
    }
    let stateless = "self.upgrade.mode != 'Stateless' || self.startFrom in ['Latest', 'Empty']";
    let stateless = of_field(".upgrade.mode", rule(stateless, rules::STATELESS));
    add(root, "spec", stateless);
    push(root, moved_storage());
}

/// A job with state must not start from nothing because its storage was changed. But one that
/// relied on the installation's storage may write that out: its newest checkpoint then lies below.
fn moved_storage() -> ValidationRule {
    let storage = |spec: &str| format!("{spec}.checkpoint.storage");
    let (now, before) = (storage("self.spec"), storage("oldSelf.spec"));
    let latest = "oldSelf.status.latestCheckpoint";
    // Without slashes at the end, and s3a as s3.
    let plain = |text: &str| format!("{text}.find(r'(?s)^.*[^/]').replace('s3a://', 's3://')");
    let field = |storage: &str, name: &str| {
        let (field, has_storage) = (format!("{storage}.{name}"), given(storage));
        let is_given = format!("{has_storage} && {}", given(&field));
        format!("({is_given} ? {} : '')", plain(&field))
    };
    let is_same = |name: &str| format!("{} == {}", field(&now, name), field(&before, name));
    // An S3 URL's parameters stand behind the job's folder.
    let folder = format!("{now}.url.find(r'^[^?]*[^/?]').replace('s3a://', 's3://') + '/'");
    let location = format!("{latest}.location.replace('s3a://', 's3://')");
    let is_written_out = format!(
        "!{} && {} && {location}.startsWith({folder}) \
         && {location}.substring(({folder}).size()).matches(r'^[-a-z0-9]+/[-a-z0-9]+[?#]')",
        given(&before),
        given(&now),
    );
    let cel = format!(
        "!has(oldSelf.status) || !{} || self.spec.startFrom != oldSelf.spec.startFrom \
         || ({} && {}) || ({is_written_out})",
        given(latest),
        is_same("url"),
        is_same("endpoint"),
    );
    let field = ".spec.checkpoint.storage";
    of_field(field, rule(&cel, rules::MOVED_STORAGE))
}

fn add_resources(root: &mut JSONSchemaProps) {
    let known = rules::RESOURCES.map(|name| format!("'{name}'")).join(", ");
    let prefix = rules::HUGE_PAGES_PREFIX;
    let known =
        format!("self.all(r, r in [{known}] || r.startsWith('{prefix}') || r.contains('/'))");
    let is_quantity = |value: &str| format!("isQuantity(string({value}))");
    let amount = |value: &str| format!("quantity(string({value}))");
    let memory = format!(
        "!('memory' in self) || !{} || {}.compareTo(quantity('{}')) >= 0",
        is_quantity("self['memory']"),
        amount("self['memory']"),
        rules::LEAST_MEMORY.0,
    );
    let quantity = format!("{} && !string(self).startsWith('-')", is_quantity("self"));
    for kind in ["requests", "limits"] {
        let path = format!("spec.resources.{kind}");
        add(root, &path, rule(&known, rules::RESOURCE_NAME));
        add(root, &path, rule(&memory, rules::MEMORY));
        let quantity = quoting("string(self)", rule(&quantity, rules::QUANTITY));
        add(root, &format!("{path}.{{}}"), quantity);
    }
    // One rule over all resources would exceed what a rule may cost.
    for resource in rules::RESOURCES {
        let amount_of = |kind: &str| format!("self.{kind}['{resource}']");
        let (request, limit) = (amount_of("requests"), amount_of("limits"));
        let within = format!(
            "!has(self.requests) || !has(self.limits) || !('{resource}' in self.requests) \
             || !('{resource}' in self.limits) || !{} || !{} || {}.compareTo({}) <= 0",
            is_quantity(&request),
            is_quantity(&limit),
            amount(&request),
            amount(&limit),
        );
        let within = of_field(".requests", rule(&within, rules::REQUESTS));
        add(root, "spec.resources", within);
    }
}

fn add_pod_template(root: &mut JSONSchemaProps) {
    let label = reserved("k", rules::RESERVED_LABEL_PREFIX);
    let label = format!("!self.exists(k, {label})");
    let volume = reserved("v.name", rules::RESERVED_VOLUME_PREFIX);
    let volume = format!("!self.exists(v, {volume})");
    let restart = "self == 'Always'".to_owned();
    let placed = [
        ("metadata.labels", label, rules::TEMPLATE_LABEL),
        ("spec.volumes", volume, rules::TEMPLATE_VOLUME),
        ("spec.restartPolicy", restart, rules::TEMPLATE_RESTART),
    ];
    for (path, cel, wording) in placed {
        let path = format!("spec.podTemplate.{path}");
        add(root, &path, rule(&cel, wording));
    }
    for (list, cel, wording) in container_rules() {
        let path = format!("spec.podTemplate.spec.{list}");
        let cel = format!("!self.exists(c, {cel})");
        add(root, &path, rule(&cel, wording));
    }
}

/// What a container `c` of a list may not be.
fn container_rules() -> Vec<(&'static str, String, Wording)> {
    let in_job = |bad: &str| format!("c.name == 'job' && ({bad})");
    let any = |list: &str, bad: &str| format!("has(c.{list}) && c.{list}.exists(e, {bad})");
    let overrides = ["image", "command", "args", "ports"].map(|name| format!("has(c.{name})"));
    let prefix = crate::labels::RESERVED_ENV_PREFIX;
    let from = format!("has(e.prefix) && {}", reserved("e.prefix", prefix));
    let variable = any("env", &reserved("e.name", prefix));
    let variable = format!("{variable} || {}", any("envFrom", &from));
    let port = "has(e.containerPort) && e.containerPort in [8080, 8443]";
    let port = any("ports", port);
    let sidecar = rules::SIDECAR_RESTART_POLICY;
    let sidecar = format!("has(c.restartPolicy) && c.restartPolicy == '{sidecar}'");
    let mut found = vec![
        (
            "containers",
            in_job(&overrides.join(" || ")),
            rules::TEMPLATE_JOB_CONTAINER,
        ),
        ("containers", in_job(&variable), rules::TEMPLATE_ENV),
    ];
    for (test, wording) in [
        (rules::RUNTIME_MOUNT, rules::TEMPLATE_MOUNT),
        (rules::SCRATCH_MOUNT, rules::TEMPLATE_SCRATCH),
        (rules::UPWARD_MOUNT, rules::TEMPLATE_UPWARD_MOUNT),
    ] {
        let mount = any("volumeMounts", &test_of("e.mountPath", test));
        found.push(("containers", in_job(&mount), wording));
    }
    let clash = format!("c.name != 'job' && {port}");
    found.push(("containers", clash, rules::TEMPLATE_PORT));
    let init = rules::TEMPLATE_INIT_CONTAINER;
    found.push(("initContainers", in_job("true"), init));
    let clash = format!("{sidecar} && {port}");
    found.push(("initContainers", clash, rules::TEMPLATE_PORT));
    found
}

fn reserved(text: &str, prefix: &str) -> String {
    format!("{text}.startsWith('{prefix}')")
}

fn given(field: &str) -> String {
    format!("has({field})")
}

fn rule(cel: &str, wording: Wording) -> ValidationRule {
    ValidationRule {
        rule: cel.to_owned(),
        message: Some(wording.message()),
        ..ValidationRule::default()
    }
}

fn text_rule(text: &str, text_rule: &TextRule) -> ValidationRule {
    let test = test_of(text, text_rule.test);
    let cel = match text_rule.when {
        Some(when) => format!("!({}) || {test}", test_of(text, when)),
        None => test,
    };
    let rule = rule(&cel, text_rule.wording);
    match text_rule.quote {
        Quote::Never => rule,
        Quote::Always => quoting(text, rule),
        Quote::UnlessSecret => {
            let is_secret = test_of(text, rules::MAYBE_SECRET);
            beginning(&format!("({is_secret} ? 'it' : {})", in_quotes(text)), rule)
        }
    }
}

fn test_of(text: &str, test: Test) -> String {
    match test {
        Test::Has(pattern) => format!("{text}.matches(r'{pattern}')"),
        Test::Lacks(pattern) => format!("!{text}.matches(r'{pattern}')"),
    }
}

/// Lets the message begin with a text, in quotes.
fn quoting(text: &str, rule: ValidationRule) -> ValidationRule {
    beginning(&in_quotes(text), rule)
}

fn in_quotes(text: &str) -> String {
    format!("'\"' + {text} + '\"'")
}

fn beginning(expression: &str, mut rule: ValidationRule) -> ValidationRule {
    let rest = rule.message.as_deref().unwrap_or_default();
    // A JSON string is a literal of CEL.
    let rest = serde_json::Value::from(format!(" {rest}"));
    rule.message_expression = Some(format!("{expression} + {rest}"));
    rule
}

fn of_field(field: &str, mut rule: ValidationRule) -> ValidationRule {
    rule.field_path = Some(field.to_owned());
    rule
}

/// Rules of the object's name, which only the root may have.
fn restrict_name(root: &mut JSONSchemaProps, name: &str, rules: &[TextRule]) {
    for rule in rules {
        add_name_rule(root, text_rule(name, rule));
    }
}

fn add_name_rule(root: &mut JSONSchemaProps, rule: ValidationRule) {
    // A rule's path must stand in the schema.
    let metadata = root
        .properties
        .get_or_insert_default()
        .entry("metadata".to_owned());
    let metadata = metadata.or_default();
    metadata.type_ = Some("object".to_owned());
    let name = metadata
        .properties
        .get_or_insert_default()
        .entry("name".to_owned());
    name.or_default().type_ = Some("string".to_owned());
    push(root, of_field(".metadata.name", rule));
}

fn add(root: &mut JSONSchemaProps, path: &str, rule: ValidationRule) {
    let place = path.split('.').fold(root, |schema, name| {
        child(schema, name).expect("a rule's place is a field; held by tests of each definition")
    });
    push(place, rule);
}

fn push(schema: &mut JSONSchemaProps, rule: ValidationRule) {
    let rules = schema.x_kubernetes_validations.get_or_insert_default();
    rules.push(rule);
}

fn child<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    match (
        name,
        schema.items.as_mut(),
        schema.additional_properties.as_mut(),
    ) {
        ("[]", Some(JSONSchemaPropsOrArray::Schema(element)), _) => Some(element),
        ("{}", _, Some(JSONSchemaPropsOrBool::Schema(value))) => Some(value),
        _ => schema.properties.as_mut()?.get_mut(name),
    }
}

fn root(definition: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
    let version = definition.spec.versions.first_mut();
    let schema = version.and_then(|version| version.schema.as_mut());
    let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_mut());
    schema.expect("a derived definition has one version with a schema")
}
