//! The KME's 004 doors, spoken to byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bartizan_tests::kme::{Door, Form, Kme};
use serde_json::{Value, json};

use crate::link::Setup;

fn plain(form: Form) -> Door {
    Door {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        form,
        tls: false,
    }
}

fn kme() -> Kme {
    let mut options = Setup::new().kme_options("kme", SocketAddr::from(([127, 0, 0, 1], 0)));
    options.doors = vec![plain(Form::Binary), plain(Form::Json)];
    Kme::start(options).unwrap()
}

fn binary(stream: &mut TcpStream, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut request = vec![1, 0, 1, kind];
    request.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    request.extend(body);
    stream.write_all(&request).unwrap();
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[..4], [1, 0, 1, kind + 1]);
    let length = u32::from_be_bytes(head[4..].try_into().unwrap());
    let mut body = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut body).unwrap();
    body
}

fn ask(stream: &mut TcpStream, command: &str, data: &Value) -> Value {
    let request = json!({"command": command, "data": data}).to_string();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answers = serde_json::Deserializer::from_reader(stream).into_iter();
    answers.next().unwrap().unwrap()
}

/// A stream opened in one form is joined in the other: the chunk is the same.
#[test]
fn both_forms_speak_of_the_same_streams() {
    let (here, there) = (kme(), kme());
    let mut json = TcpStream::connect(here.doors()[1]).unwrap();
    let qos = json!({
        "key_chunk_size": 32, "max_bps": 1000, "min_bps": 10, "jitter": 0, "priority": 0,
        "timeout": 1000, "ttl": 60, "metadata_mimetype": "",
    });
    let opened = ask(
        &mut json,
        "OPEN_CONNECT",
        &json!({"source": "qkd://sae-a@kme-a", "destination": "qkd://sae-b@kme-b", "qos": qos}),
    );
    assert_eq!(opened["status"], 0, "{opened}");
    let id = opened["key_stream_id"].as_str().unwrap();
    let chunk = ask(
        &mut json,
        "GET_KEY",
        &json!({"key_stream_id": id, "index": 2}),
    );

    let mut other = TcpStream::connect(there.doors()[0]).unwrap();
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    let id: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let mut open = b"qkd://sae-b@kme-b\0qkd://sae-a@kme-a\0".to_vec();
    for number in [32_u32, 1000, 10, 0, 0, 1000, 60] {
        open.extend(number.to_be_bytes());
    }
    open.extend([0; 256]);
    open.extend(&id);
    let opened = binary(&mut other, 2, &open);
    assert_eq!(opened.len(), 4 + 284 + 16);
    assert_eq!(opened[..4], [0; 4]);
    assert_eq!(opened[4 + 284..], id);
    let get: Vec<u8> = [&id[..], &2_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    let got = binary(&mut other, 4, &get);
    assert_eq!(got[..12], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 32]);
    assert_eq!(json!(got[12..44]), chunk["key_buffer"]);
    assert_eq!(got[44..], [0; 4]);
    assert_eq!(binary(&mut other, 8, &id), [0; 4]);
    assert_eq!(binary(&mut other, 4, &get), 4_u32.to_be_bytes());
}

#[test]
fn what_is_no_request_ends_the_connection_alone() {
    let kme = kme();
    for (door, bytes) in [
        (0, &b"\x01\x00\x01\x02\xff\xff\xff\xff"[..]),
        (0, b"GET / HTTP/1.1\r\n\r\n"),
        (0, b"\x01\x00\x01\x08\x00\x00\x00\x01x"),
        (1, b"{\"command\":\"DANCE\",\"data\":{}}"),
        (1, b"}"),
    ] {
        let mut stream = TcpStream::connect(kme.doors()[door]).unwrap();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Whatever is unread at its end resets the connection.
        let _reset = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    let mut good = TcpStream::connect(kme.doors()[1]).unwrap();
    let unknown = json!({"key_stream_id": "00000000-0000-0000-0000-000000000001"});
    assert_eq!(ask(&mut good, "CLOSE", &unknown)["status"], 4);
}
