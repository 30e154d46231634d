//! The command line, as a shell runs it, on real servers.

mod bad_input;
mod channels;
mod cluster;
mod demo;
mod firewall;
mod keys;
mod output;
mod processes;
mod readme;
mod run;
mod serve;
mod support;
mod tour;
