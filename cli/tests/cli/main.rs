//! The command line, as a shell runs it, on real servers.

mod bad_input;
mod channels;
mod cluster;
mod demo;
mod dns;
mod docker;
mod examples;
mod firewall;
mod kept;
mod keys;
mod output;
mod processes;
mod readme;
mod run;
mod selects;
mod serve;
mod support;
mod tour;
mod transcript;
mod upstream;
