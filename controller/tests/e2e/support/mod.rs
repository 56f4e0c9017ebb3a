//! What the tests share: the installed operator, a namespace and a bucket of a test's own, jobs
//! under test, and waiting for conditions.

pub(crate) mod bucket;
mod job;
mod objects;
pub(crate) mod operator;
mod results;
mod space;
mod wait;

pub(crate) use job::{Job, condition};
pub(crate) use space::Space;
pub(crate) use wait::{SOON, until};
