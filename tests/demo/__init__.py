"""The demo: what a user can do, shown. A VPC in network namespaces, real clients, the real appliance.

    make demo                          or: python -m tests.demo [--json FILE]
    make demo-terraform                    the same, with all of AWS made by `terraform apply`: applied, groups/

`scenarios` says what is tried and what must come of it; `clients` are the programs that try; `stage` is the lab with
the appliance in it, and collects what the client saw, what the appliance logged and what reached the server; `report`
prints it. tests/lab/test_demo.py runs the same scenarios with the rest of the tests.
"""
