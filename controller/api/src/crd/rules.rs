//! The rules of [`crate::rules`] as CEL, each at its place in a definition's schema.
//!
//! An optional field may be absent or null, so a rule tests both before it reads one. The API
//! server estimates each rule's cost from the schema's bounds, which is why every list and text
//! that a rule walks has some.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};

use crate::rules::{self, Test, TextRule, Wording};

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
    let url = |spec: &str| {
        let storage = format!("{spec}.checkpoint.storage");
        format!("({} ? {storage}.url : '')", given(&storage))
    };
    let moved = format!(
        "!has(oldSelf.status) || !{} || {} == {} || self.spec.startFrom != oldSelf.spec.startFrom",
        given("oldSelf.status.latestCheckpoint"),
        url("self.spec"),
        url("oldSelf.spec"),
    );
    let moved = of_field(
        ".spec.checkpoint.storage",
        rule(&moved, rules::MOVED_STORAGE),
    );
    push(root, moved);
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
    let reserved = |text: &str, prefix: &str| format!("{text}.startsWith('{prefix}')");
    let folder = rules::RUNTIME_FOLDER;
    let mount = format!(
        "m.mountPath == '{folder}' || {}",
        reserved("m.mountPath", &format!("{folder}/"))
    );
    let label = format!(
        "!self.exists(k, {})",
        reserved("k", rules::RESERVED_LABEL_PREFIX)
    );
    let volume = format!(
        "!self.exists(v, {})",
        reserved("v.name", rules::RESERVED_VOLUME_PREFIX)
    );
    let overrides = ["image", "command", "args", "ports"].map(|name| format!("has(c.{name})"));
    let in_job = |bad: &str| format!("!self.exists(c, c.name == 'job' && ({bad}))");
    let port = "!self.exists(c, c.name != 'job' && has(c.ports) && \
                c.ports.exists(p, has(p.containerPort) && p.containerPort in [8080, 8443]))";
    let variable = reserved("e.name", crate::labels::RESERVED_ENV_PREFIX);
    let variable = in_job(&format!("has(c.env) && c.env.exists(e, {variable})"));
    let mount = in_job(&format!(
        "has(c.volumeMounts) && c.volumeMounts.exists(m, {mount})"
    ));
    let placed = [
        ("metadata.labels", label, rules::TEMPLATE_LABEL),
        (
            "spec.containers",
            in_job(&overrides.join(" || ")),
            rules::TEMPLATE_JOB_CONTAINER,
        ),
        ("spec.containers", variable, rules::TEMPLATE_ENV),
        ("spec.containers", mount, rules::TEMPLATE_MOUNT),
        ("spec.containers", port.to_owned(), rules::TEMPLATE_PORT),
        (
            "spec.initContainers",
            in_job("true"),
            rules::TEMPLATE_INIT_CONTAINER,
        ),
        ("spec.volumes", volume, rules::TEMPLATE_VOLUME),
        (
            "spec.restartPolicy",
            "self == 'Always'".to_owned(),
            rules::TEMPLATE_RESTART,
        ),
    ];
    for (path, cel, wording) in placed {
        add(
            root,
            &format!("spec.podTemplate.{path}"),
            rule(&cel, wording),
        );
    }
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
    let cel = |test: Test| match test {
        Test::Has(pattern) => format!("{text}.matches(r'{pattern}')"),
        Test::Lacks(pattern) => format!("!{text}.matches(r'{pattern}')"),
    };
    let test = cel(text_rule.test);
    let cel = match text_rule.when {
        Some(when) => format!("!({}) || {test}", cel(when)),
        None => test,
    };
    let rule = rule(&cel, text_rule.wording);
    match text_rule.is_quoted {
        true => quoting(text, rule),
        false => rule,
    }
}

/// Lets the message begin with a text, in quotes.
fn quoting(text: &str, mut rule: ValidationRule) -> ValidationRule {
    let rest = rule.message.as_deref().unwrap_or_default();
    // A JSON string is a literal of CEL.
    let rest = serde_json::Value::from(format!("\" {rest}"));
    rule.message_expression = Some(format!("'\"' + {text} + {rest}"));
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
