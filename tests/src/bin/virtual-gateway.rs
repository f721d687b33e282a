//! What runs in a virtual machine of the demonstration: a gateway as it ships.
#![forbid(unsafe_code)]

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    bartizan_tests::demo::gateway(&arguments);
}
