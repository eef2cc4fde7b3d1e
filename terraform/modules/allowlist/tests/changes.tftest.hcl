# What an edit changes. tests/terraform/test_allowlist.py reads what these plans would do.

mock_provider "aws" {
  mock_resource "aws_vpc_security_group_egress_rule" {
    defaults = { security_group_rule_id = "sgr-0a1b2c3d4e5f60718" }
  }
}

variables {
  security_group_id = "sg-0a1b2c3d4e5f60718"
}

run "before" {
  variables {
    tls = { 443 = concat([for index in range(10, 40) : "n${index}.example.com"], ["api.test"]) }
  }

  assert {
    condition = length(output.descriptions) > 2 && output.rule_ids == tomap({
      for rule in keys(output.descriptions) : rule => "sgr-0a1b2c3d4e5f60718"
    })
    error_message = "Not an id for each of several rules."
  }
}

run "another_order" {
  command = plan
  variables {
    tls = { 443 = concat(["API.test."], reverse([for index in range(10, 40) : "n${index}.example.com"]), ["n20.example.com"]) }
  }
}

run "one_name_more" {
  command = plan
  variables {
    tls = { 443 = concat([for index in range(10, 40) : "n${index}.example.com"], ["api.test", "n.test"]) }
  }
}
