//! One end of a flow, for a host of its own: `flow LOCAL REMOTE PACKETS-A-SECOND BYTES` sends until its standard
//! input ends, then prints what came from the other end as JSON.
#![forbid(unsafe_code)]

use std::{error::Error, io::Read, net::SocketAddr};

use bartizan_tests::testbed::flow::{End, Pace, bind};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, remote, per_second, size] = arguments.as_slice() else {
        return Err("usage: flow LOCAL REMOTE PACKETS-A-SECOND BYTES".into());
    };
    let (local, remote): (SocketAddr, SocketAddr) = (local.parse()?, remote.parse()?);
    let pace = Pace {
        per_second: per_second.parse()?,
        size: size.parse()?,
    };
    let end = End::start(bind(local), remote, pace);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", serde_json::to_string(&end.stop())?);
    Ok(())
}
