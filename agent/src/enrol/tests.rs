//! Enrolment against a collector in this process that has an authority and speaks TLS.

mod examined;
mod fake;
mod files;
mod first_contact;
mod renewing;
mod repeated;
mod schedule;
