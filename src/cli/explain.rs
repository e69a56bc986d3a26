//! `windrose explain`: the decision for one client, step by step.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;

use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// What is asked, and by whom.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// The name asked for
    #[arg(value_parser = name)]
    pub(super) name: Name,

    /// The type asked for
    #[arg(value_name = "TYPE", default_value = "A", value_parser = record_type)]
    pub(super) rtype: RecordType,

    /// The client, as its subnet or its address
    #[arg(long, value_name = "IP[/LEN]", value_parser = subnet)]
    pub(super) client: Option<IpNet>,

    /// The resolver that asks for it, if it is another
    #[arg(long, value_name = "IP")]
    pub(super) resolver: Option<IpAddr>,
}

/// Prints the decision.
pub(super) fn run(
    _config: Option<&Path>,
    _json: bool,
    _question: &Question,
    _out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let _ = writeln!(err, "error: explain is still to come");
    ExitCode::FAILURE
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text, None).map_err(|fault| fault.to_string())
}

fn record_type(text: &str) -> Result<RecordType, String> {
    RecordType::parse(text).ok_or_else(|| "no such type (TYPEnnn serves for any)".to_owned())
}

/// A network, or an address as the network of itself alone.
fn subnet(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "an address, or address/length".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_subnet_of_one() {
        assert_eq!(subnet("192.0.2.1").unwrap().prefix_len(), 32);
        assert_eq!(subnet("2001:db8::/56").unwrap().prefix_len(), 56);
        assert!(subnet("192.0.2.0/33").is_err());
    }
}
