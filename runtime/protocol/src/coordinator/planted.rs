//! Bugs that the simulation plants to show that it would find them. They exist in tests alone.

/// Whether a bug is planted; `false` at compile time outside tests.
#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        $crate::simulation::is_planted($crate::simulation::Bug::$bug)
    };
}
#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident) => {
        $crate::coordinator::planted::nothing()
    };
}
pub(crate) use planted;

/// What stands in a bug's place outside tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn nothing() -> bool {
    false
}
