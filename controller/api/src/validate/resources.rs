//! The check of what each pod asks of its node.

use std::collections::BTreeMap;

use super::fields::{Errors, refuse, refuse_by};
use crate::rules;
use crate::spec::{Quantity, Resources};

pub(super) fn check_resources(resources: Option<&Resources>, errors: &mut Errors) {
    let Some(resources) = resources else { return };
    let before = errors.list.len();
    check_amounts("spec.resources.requests", &resources.requests, errors);
    check_amounts("spec.resources.limits", &resources.limits, errors);
    if errors.list.len() > before {
        return;
    }
    for resource in rules::RESOURCES {
        let requested = resources.requests.get(resource);
        let limit = resources.limits.get(resource);
        if let (Some(requested), Some(limit)) = (requested, limit)
            && requested.billionths() > limit.billionths()
        {
            let path = format!("spec.resources.requests.{resource}");
            refuse_by(errors, &path, rules::REQUESTS);
        }
    }
}

fn check_amounts(path: &str, amounts: &BTreeMap<String, Quantity>, errors: &mut Errors) {
    for (resource, quantity) in amounts {
        let member = format!("{path}.{resource}");
        if !is_known(resource) {
            refuse_by(errors, path, rules::RESOURCE_NAME);
        } else if quantity.billionths().is_none() {
            let problem = format!("\"{quantity}\" {}", rules::QUANTITY.problem);
            refuse(errors, &member, problem, rules::QUANTITY.remedy);
        } else if resource == "memory" && quantity.billionths() < Some(rules::LEAST_MEMORY.1) {
            refuse_by(errors, path, rules::MEMORY);
        }
    }
}

fn is_known(resource: &str) -> bool {
    rules::RESOURCES.contains(&resource)
        || resource.starts_with(rules::HUGE_PAGES_PREFIX)
        || resource.contains('/')
}
