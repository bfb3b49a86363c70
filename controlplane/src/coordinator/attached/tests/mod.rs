//! What becomes of publications when servers, encoders and publishers come and go.

mod bench;
mod harm;
mod home;
mod life;
