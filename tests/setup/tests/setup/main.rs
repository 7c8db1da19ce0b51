//! The scripts that install and remove, run as people run them: real bash, jq and openssl, a stand-in
//! for `ibmcloud` that refuses what the real one does not know, the local cloud behind it, and the
//! real job in the runs that setup makes.
mod harness;
mod install;
mod lines;
mod network;
mod papers;
mod remove;
mod resume;
mod wrong;
