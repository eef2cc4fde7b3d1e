"""The lab: a VPC in network namespaces, in which the real appliance meets real clients and real servers.

    from tests.lab.lab import Lab
    from tests.lab.security_group import egress

    lab = Lab.start()                                          # about 3 s; inside an enclosure, see below
    api = lab.internet.tls("api.example.com")                  # a server, its address, its DNS name
    group = lab.security_group("web", egress("tcp", 443, "0.0.0.0/0", "discriminat:tls:api.example.com"))
    web = lab.workload("web", groups=[group])                  # private-a, behind lab.appliance

    lab.appliance.start()                                      # `python -m appliance run --config ...`, healthy
    assert web.curl("https://api.example.com/").ok
    lab.appliance.wait_for_event(dhost="api.example.com", outcome="allowed")
    lab.edit_rule(group, description="discriminat:tls:other.example.com")
    assert api.received() == b"..."                            # every octet that reached the server
    lab.names["api.example.com"] = ["203.0.113.99"]            # DNS, from now on
    with lab.trouble("ec2", "throttle"): ...                   # or fail, deny, hang, refuse; "logs" too
    lab.route_default("private-a", None)                       # take the default route away
    lab.appliance.stop()

    with lab.plain_nat(): ...                                  # the same host, the kernel's NAT instead

A VPC that somebody else makes, such as Terraform (tests/terraform/deployment.py):

    lab = Lab.without_vpc()
    with Fleet(lab) as fleet: ...                              # an appliance for each instance of an Auto Scaling group

Everything runs in an enclosure that takes the lab with it when it ends, SIGKILL included. `pytest tests/lab` enters
one by itself; anything else is started as

    python tests/lab/enclosure.py COMMAND...        or calls tests.lab.enclosure.ensure() first

Modules: lab (verbs), workload, appliance; internet, servers, authority (the outside); fabric, fabric_rules,
vpc_state (AWS's network); emulator, moto_gaps, moto_launch, moto_autoscaling, switchboard, metadata (AWS's APIs);
fleet (appliances that Auto Scaling launches); preferring (the SSM parameter); clients, programs (real clients of
Debian 13, from a tree that `make test-clients` makes); namespaces, enclosure (Linux).
"""
