//! Bootstrap and enrolment: what both ends say, and what each must have checked before it goes on.
//!
//! The gateway finds its owner through signed data that anybody may carry ([`voucher`],
//! [`conveyed`], [`sztp`], in the order of [`bootstrap`]), then proves to the owner's registrar what
//! it is and what it runs ([`enrol`]). No I/O, no clock, no random numbers: all of that is handed
//! in. Each state of an exchange is a type, and a step consumes it, so no step can be left out or
//! done twice.
#![forbid(unsafe_code)]

mod binary;
pub mod bootstrap;
pub mod certificate;
pub mod cms;
pub mod conveyed;
mod date;
pub mod enrol;
pub mod restconf;
pub mod serial;
pub mod site;
pub mod sztp;
pub mod version;
pub mod voucher;
