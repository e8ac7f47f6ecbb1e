//! Enrolment against a collector in this process that has an authority and speaks TLS.

mod fake;
mod files;
mod first_contact;
mod renewing;
mod schedule;
