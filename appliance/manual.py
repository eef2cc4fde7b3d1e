"""The manual: what `discriminat VERB --help` says below its options."""

SOURCES = """\
Security Groups and network interfaces are read from AWS, as the appliance reads them, or from files:
  aws ec2 describe-security-groups    --filters Name=vpc-id,Values=vpc-0a1b2c3d > groups.json
  aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=vpc-0a1b2c3d > interfaces.json"""

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
  twice in a group, see-thru that has ended or holds for more than a year, a group that no interface wears"""

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
among them. Where the group has rules for the port already, take masks that are free."""
