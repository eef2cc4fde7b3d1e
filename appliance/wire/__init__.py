"""Octets from the network to facts: IPv4, TCP, TLS, SSH and HTTP, as far as policy needs them.

Import the module you mean; nothing is re-exported here. They form a ladder:

    reader                                  length-prefixed blocks
    ip, stream                              packets; the first octets of one direction of a flow
    tls_record, server_name                 handshake messages out of records; the name in a hello
    client_hello, server_hello, ssh, http   one message each
    tls, sniff                              the vocabulary of TLS in one place; which protocol this is

Two kinds of functions: `frame_x(stream)` returns None while octets are missing, `parse_x(body)` only
sees what is complete. Both raise `Malformed` on what no honest peer sends, and nothing else. How the
octets were cut into segments never changes the outcome.
"""
