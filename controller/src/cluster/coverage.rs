//! Which namespaces are known well enough to act in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A namespace, or all of them.
pub(super) type Scope = Option<String>;

/// How far the watches are, by scope.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    scopes: Mutex<BTreeMap<Scope, State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many watches have not listed yet.
    missing: usize,
    /// How many the API server forbids: their namespace may be gone.
    forbidden: usize,
}

impl Coverage {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Scope, State>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expect(&self, scope: &Scope) {
        self.lock().entry(scope.clone()).or_default().missing += 1;
    }

    /// Takes note of a watch that has listed for the first time; true if it was the scope's last.
    pub(super) fn listed(&self, scope: &Scope) -> bool {
        let mut scopes = self.lock();
        let state = scopes.entry(scope.clone()).or_default();
        state.missing = state.missing.saturating_sub(1);
        state.missing == 0
    }

    pub(super) fn forbidden(&self, scope: &Scope) {
        self.lock().entry(scope.clone()).or_default().forbidden += 1;
    }

    /// Takes note of a watch that was forbidden and is not any more.
    pub(super) fn allowed(&self, scope: &Scope) {
        let mut scopes = self.lock();
        let state = scopes.entry(scope.clone()).or_default();
        state.forbidden = state.forbidden.saturating_sub(1);
    }

    /// Whether every watch has listed, and none is forbidden.
    pub(super) fn is_whole(&self) -> bool {
        let scopes = self.lock();
        scopes
            .values()
            .all(|state| state.missing == 0 && state.forbidden == 0)
    }

    /// Whether some scope is known, and of the others each is forbidden rather than late.
    pub(super) fn is_usable(&self) -> bool {
        let scopes = self.lock();
        let is_known = |state: &State| state.missing == 0;
        scopes.values().any(is_known)
            && (scopes.values()).all(|state| is_known(state) || state.forbidden > 0)
    }

    /// Whether what is not in a store is not in this namespace.
    pub(super) fn knows(&self, namespace: &str) -> bool {
        let scopes = self.lock();
        let scope = scopes
            .get(&None)
            .or_else(|| scopes.get(&Some(namespace.to_owned())));
        scope.is_some_and(|state| state.missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Scope {
        Some(name.to_owned())
    }

    #[test]
    fn a_forbidden_namespace_does_not_hold_up_the_others() {
        let coverage = Coverage::default();
        for name in ["shop", "gone"] {
            coverage.expect(&scope(name));
            coverage.expect(&scope(name));
        }
        coverage.forbidden(&scope("gone"));
        assert!(!coverage.listed(&scope("shop")));
        assert!(!coverage.is_usable(), "one of its watches is late");
        assert!(!coverage.knows("shop"));
        assert!(coverage.listed(&scope("shop")));
        assert!(coverage.is_usable());
        assert!(coverage.knows("shop"));
        assert!(!coverage.knows("gone"));
        assert!(!coverage.is_whole());

        coverage.listed(&scope("gone"));
        assert!(!coverage.knows("gone"), "a part of it is not enough");
        assert!(coverage.listed(&scope("gone")));
        assert!(coverage.knows("gone"));
        assert!(!coverage.is_whole(), "it has not worked since");
        coverage.allowed(&scope("gone"));
        assert!(coverage.is_whole());
    }

    #[test]
    fn who_may_see_nothing_is_of_no_use() {
        let coverage = Coverage::default();
        coverage.expect(&None);
        assert!(!coverage.is_usable());
        coverage.forbidden(&None);
        assert!(!coverage.is_usable());
        assert!(coverage.listed(&None));
        assert!(coverage.is_usable());
        assert!(coverage.knows("any"));
    }
}
