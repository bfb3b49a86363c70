//! Applications that were written for other servers, with the real server and real encoders.

mod absences;
mod application;
mod endings;
mod logins;
mod moves;
mod recordings;
mod redirects;
mod scenario;
mod segments;
mod viewers;
