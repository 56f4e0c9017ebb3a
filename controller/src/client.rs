//! The two sides that the controller talks to: the API server and the processes of the jobs.

mod api_error;
mod job;
mod writer;

pub use api_error::ApiError;
pub use job::{JobApiError, JobClient, JobPod};
pub use writer::{Kind, Writer};
