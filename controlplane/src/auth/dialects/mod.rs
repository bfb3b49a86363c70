//! Dialects: applications that were written for other servers, as their documentation says.

mod every;
mod mediamtx;
mod nginx_rtmp;
mod rig;
mod rtmp_event;
mod srs;
mod zlmediakit;
