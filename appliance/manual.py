"""What `discriminat VERB --help` says beside the arguments. Everything here is text."""

SOURCES = """\
Security Groups and network interfaces are read from AWS, as the appliance reads them, or from files:
  aws ec2 describe-security-groups    --filters Name=vpc-id,Values=vpc-0a1b2c3d > groups.json
  aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=vpc-0a1b2c3d > interfaces.json
and so is each prefix list that annotated rules lead to, for --prefix-list pl-0a1b2c3d=entries.json:
  aws ec2 get-managed-prefix-list-entries --prefix-list-id pl-0a1b2c3d > entries.json
and each list of names, as plain text or one of these, for --list '@ssm/apps/allow=list.json' or '@secret/...=FILE':
  aws ssm get-parameter --name /apps/allow > list.json
  aws secretsmanager get-secret-value --secret-id apps/allow > list.json"""

CHECK_EPILOG = f"""\
{SOURCES}

examples:
  discriminat check --security-groups groups.json
  discriminat check --security-groups groups.json --network-interfaces interfaces.json --json
  aws ec2 describe-security-groups | discriminat check --security-groups -
  discriminat check --vpc-id vpc-0a1b2c3d --region eu-west-1

rejected, exit 1: what grants nothing, because the appliance or AWS refuses it
  an annotation or a name that cannot be read, a rule of the wrong shape, a description with characters that
  AWS refuses or of more than 255 of them, two rules with the same protocol, port and destination
warnings, exit 0 unless --strict: what works, but perhaps not as it was meant
  a port annotated for 0.0.0.0/1 or narrower where no rule has 0.0.0.0/0 (AWS drops the rest), names listed
  twice in a group, see-thru that has ended or holds for more than a year, a group that no interface wears, a prefix
  list or a list of names that is not given"""

EXPLAIN_EPILOG = f"""\
{SOURCES}
So are the preferences of the deployment, if this machine has the settings that name their parameter:
  aws ssm get-parameter --name DiscrimiNAT_egress > preferences.json

examples:
  discriminat explain --client 10.0.1.10 --port 443 --name api.example.com
  discriminat explain --client 10.0.1.10 --port 443 --name api.example.com --address 203.0.113.10
  discriminat explain --client 10.0.1.10 --port 22 --name git.example.com --protocol ssh --resolve \\
      --security-groups groups.json --network-interfaces interfaces.json --preferences preferences.json

exit 0 when the connection would be made, also if only because of see-thru; 1 when it would be refused.
A well-formed hello, TLS 1.2 or newer and a server that agrees are taken for granted."""

SELFTEST_EPILOG = """\
It needs nothing but Python. Run it from a folder that holds the package, as python3 -m appliance selftest HOST;
as root it tries a few rows more. Nothing but hellos is sent, one after the other, fifty connections in all, to
the hosts that are named here and to no other. The flow log has a line with the code for each that was stopped,
unless a Security Group or the kernel did it.

examples:
  discriminat selftest api.example.com
  discriminat selftest api.example.com:8443 --ssh git.example.com --other www.example.org
  discriminat selftest api.example.com --list
  sudo discriminat selftest api.example.com --here

On the box, --here does it with the ruleset and the engine that are installed, in network namespaces of their own, as
`prove` does, and carries what they let through on to the host. It touches nothing that is in force, asks AWS nothing,
takes the host for listed, and compares the codes with those that are logged. It wants what `prove` wants.

stopped      a reset or silence came back; "sooner than the server could": it cannot have been the server's
NOT STOPPED  the server answered or ended the connection, be it by an alert, so that it got what it must not get
allowed      odd, but honest, and answered as it must be; BROKEN if not
not tried    and why. See-thru in force, or the preference ech, lets pass what is tried here: that is NOT STOPPED, too

exit 0 when all that was tried was stopped or allowed as it should be; 1 when something got through, or was stopped that
must pass; 3 when it cannot be judged, as an honest connection does not work"""

REPLAY_EPILOG = """\
Captures are pcap or pcapng files of tcpdump, dumpcap or Wireshark; several are merged by time, - is standard input.
Without files of policy every client is unknown, and refused; what its packets say is shown all the same.

examples:
  discriminat replay capture.pcapng
  tcpdump -i eth0 -s 0 -U -w - tcp | discriminat replay -
  discriminat replay --security-groups groups.json --network-interfaces interfaces.json --trust-names capture.pcap
  echo '{"api.example.com": ["203.0.113.10"]}' | discriminat replay --addresses - \\
      --security-groups groups.json --network-interfaces interfaces.json before.pcap after.pcap

The engine is given what the kernel would give it, at the times of the capture. Capture whole packets (-s 0), from
before the connections begin: what is cut is `truncated_copy`, what was joined in the middle `mid_stream`.
exit 0 when all was read, whatever the outcomes; 1 when a file cannot be read, or not to its end"""

SUGGEST_EPILOG = """\
The flow log is read from CloudWatch Logs, with your own credentials, which need logs:FilterLogEvents on the log group;
the appliance's role does not read logs. Or from files: flow.jsonl as the appliance writes it, - for standard input.

examples:
  discriminat suggest --region eu-west-1
  discriminat suggest --since 2027-01-01 --group sg-0a1b2c3d4e5f60718 --format terraform > allowlist.tf
  discriminat suggest --html report.html /var/log/discriminat/flow.jsonl

A name goes to the Security Group that granted see-thru. Where the preferences granted it, to the one that the client
wears, which is told from --network-interfaces; of several, to the one given with --group.
  aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=vpc-0a1b2c3d > interfaces.json

Workloads chose the names while everything passed. 20 names or more below one parent that are hardly used again are
held back, as data can be carried out in such names: --keep PARENT suggests them nevertheless.
Of a port that no rule has, only the name is known: the first hello may still be refused, for ECH as an example.

annotations: a port's rules differ in the mask, for AWS refuses two with the same destination, and 0.0.0.0/0 has to be
among them. Where the group has rules for the port already, --security-groups tells which masks are free.
  aws ec2 describe-security-groups --filters Name=vpc-id,Values=vpc-0a1b2c3d > groups.json"""
