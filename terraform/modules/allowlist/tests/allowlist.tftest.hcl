# Every variable does something, every validation refuses something, every output holds something. That the descriptions
# hold all names and nothing else, for many lists, is shown by tests/terraform/test_allowlist.py with the engine's parser.

mock_provider "aws" {}

variables {
  security_group_id = "sg-0a1b2c3d4e5f60718"
}

# What is written

run "nothing_asked_nothing_written" {
  command = plan

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.this) == 0
    error_message = "There are rules, and no names."
  }
}

run "tls" {
  command = plan
  variables {
    tls = { 443 = ["files.example.com", "api.example.com"], 8443 = ["admin.example.com"] }
  }

  assert {
    condition = output.descriptions == tomap({
      "tcp/443 0.0.0.0/0"  = "discriminat:tls:api.example.com,files.example.com"
      "tcp/8443 0.0.0.0/0" = "discriminat:tls:admin.example.com"
    })
    error_message = "Not the two descriptions that two ports need."
  }
  assert {
    condition = alltrue([for port in [443, 8443] : [
      for rule in [aws_vpc_security_group_egress_rule.this["tcp/${port} 0.0.0.0/0"]] :
      rule.security_group_id == "sg-0a1b2c3d4e5f60718" && rule.ip_protocol == "tcp" && rule.cidr_ipv4 == "0.0.0.0/0"
      && rule.from_port == port && rule.to_port == port
    ][0]])
    error_message = "Not a TCP rule of the group, for one port and to anywhere."
  }
}

run "ssh" {
  command = plan
  variables {
    ssh = { 22 = ["git.example.com"] }
  }

  assert {
    condition     = output.descriptions == tomap({ "tcp/22 0.0.0.0/0" = "discriminat:ssh:git.example.com" })
    error_message = "Not an SSH annotation."
  }
}

run "tls_and_ssh_share_a_port" {
  command = plan
  variables {
    tls = { 443 = ["api.example.com"] }
    ssh = { 443 = ["git.example.com", "api.example.com"] }
  }

  assert {
    condition     = output.descriptions == tomap({ "tcp/443 0.0.0.0/0" = "discriminat:tls:api.example.com discriminat:ssh:api.example.com,git.example.com" })
    error_message = "Two annotations of one port do not stand in one description, where they have room."
  }
}

run "names_are_the_same_in_any_case" {
  command = plan
  variables {
    tls = { 443 = ["API.example.com", "api.Example.com.", "api.example.com"] }
  }

  assert {
    condition     = output.descriptions == tomap({ "tcp/443 0.0.0.0/0" = "discriminat:tls:api.example.com" })
    error_message = "A repetition takes up room."
  }
}

run "lists_that_are_kept_elsewhere" {
  command = plan
  variables {
    tls = { 443 = ["api.example.com", "@SSM/apps/Acme/allow", "@ssm/apps/acme/allow", "@secret/Acme+1/allow", "@list/Central", "@LIST/central"] }
    ssh = { 22 = ["@ssm/acme-allow."] }
  }

  assert {
    condition = output.descriptions == tomap({
      "tcp/22 0.0.0.0/0"  = "discriminat:ssh:@ssm/acme-allow."
      "tcp/443 0.0.0.0/0" = "discriminat:tls:@list/central,@secret/Acme+1/allow,@ssm/apps/Acme/allow,@ssm/apps/acme/allow,api.example.com"
    })
    error_message = "References are not written as AWS's names are."
  }
}

run "see_thru" {
  command = plan
  variables {
    tls      = { 443 = ["api.example.com"] }
    see_thru = formatdate("YYYY-MM-DD", timeadd(timestamp(), "720h"))
  }

  assert {
    condition = output.descriptions == tomap({
      "all 0.0.0.0/0"     = "discriminat:see-thru:${var.see_thru}"
      "tcp/443 0.0.0.0/0" = "discriminat:tls:api.example.com"
    })
    error_message = "Not see-thru beside the names."
  }
  assert {
    condition = alltrue([for rule in [aws_vpc_security_group_egress_rule.this["all 0.0.0.0/0"]] :
      rule.ip_protocol == "-1" && rule.from_port == null && rule.to_port == null && rule.cidr_ipv4 == "0.0.0.0/0"
    ])
    error_message = "See-thru is not on a rule for all traffic."
  }
}

run "tags" {
  command = plan
  variables {
    tls  = { 443 = ["api.example.com"] }
    tags = { Owner = "platform" }
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.this["tcp/443 0.0.0.0/0"].tags == tomap({ Owner = "platform" })
    error_message = "The rule is not tagged."
  }
}

# Bounds

run "the_longest_name_fits" {
  command = plan
  variables {
    tls = { 443 = ["${join(".", [for letter in ["a", "b", "c"] : join("", [for _ in range(63) : letter])])}.${join("", [for _ in range(43) : "d"])}.com."] }
  }

  assert {
    condition     = [for text in values(output.descriptions) : length(text)] == [255]
    error_message = "A name of 239 characters does not fill a description."
  }
}

run "a_name_too_long_is_refused" {
  command = plan
  variables {
    tls = { 443 = ["${join(".", [for letter in ["a", "b", "c"] : join("", [for _ in range(63) : letter])])}.${join("", [for _ in range(44) : "d"])}.com"] }
  }
  expect_failures = [var.tls]
}

run "one_description_is_filled_to_the_last_character" {
  command = plan
  variables {
    tls = { 443 = concat([for index in range(10, 28) : "n${index}.test.com"], ["ab.co"]) }
  }

  assert {
    condition     = [for text in values(output.descriptions) : length(text)] == [255]
    error_message = "Not one description of 255 characters."
  }
}

run "one_character_more_takes_another" {
  command = plan
  variables {
    tls = { 443 = concat([for index in range(10, 28) : "n${index}.test.com"], ["abc.co"]) }
  }

  assert {
    condition     = toset(keys(output.descriptions)) == toset(["tcp/443 0.0.0.0/0", "tcp/443 0.0.0.0/1"])
    error_message = "Not a second rule, with another mask."
  }
}

run "sixty_rules_are_within_the_quota" {
  command = plan
  variables {
    tls = { for port in range(1, 61) : port => ["api.example.com"] }
  }

  assert {
    condition     = length(output.descriptions) == 60
    error_message = "Not a rule for each port."
  }
}

run "more_rules_than_the_quota_are_refused" {
  command = plan
  variables {
    tls = { for port in range(1, 62) : port => ["api.example.com"] }
  }
  expect_failures = [output.descriptions]
}

run "a_raised_quota_counts" {
  command = plan
  variables {
    tls        = { for port in range(1, 62) : port => ["api.example.com"] }
    rule_quota = 61
  }

  assert {
    condition     = length(output.descriptions) == 61
    error_message = "Not a rule for each port."
  }
}

run "more_names_than_the_masks_of_a_port_hold_are_refused" {
  command = plan
  variables {
    tls        = { 443 = [for index in range(34) : "${join("", [for _ in range(60) : "x"])}.${join("", [for _ in range(60) : "x"])}.n${index}.example.com"] }
    rule_quota = 100
  }
  expect_failures = [output.descriptions]
}

run "as_many_as_they_hold_are_taken" {
  command = plan
  variables {
    tls = { 443 = [for index in range(33) : "${join("", [for _ in range(60) : "x"])}.${join("", [for _ in range(60) : "x"])}.n${index}.example.com"] }
  }

  assert {
    condition     = toset(keys(output.descriptions)) == toset([for mask in range(33) : "tcp/443 0.0.0.0/${mask}"])
    error_message = "33 names that share no description do not get the 33 masks."
  }
}

# Refusals

run "a_group_id_that_is_none" {
  command = plan
  variables {
    security_group_id = "web"
  }
  expect_failures = [var.security_group_id]
}

run "a_tls_port_that_is_none" {
  command = plan
  variables {
    tls = { https = ["api.example.com"] }
  }
  expect_failures = [var.tls]
}

run "a_tls_port_with_a_leading_zero" {
  command = plan
  variables {
    tls = { "0443" = ["api.example.com"] }
  }
  expect_failures = [var.tls]
}

run "a_tls_port_too_large" {
  command = plan
  variables {
    tls = { 65536 = ["api.example.com"] }
  }
  expect_failures = [var.tls]
}

run "a_tls_port_without_names" {
  command = plan
  variables {
    tls = { 443 = [] }
  }
  expect_failures = [var.tls]
}

run "a_tls_port_with_null_for_names" {
  command = plan
  variables {
    tls = { 443 = null }
  }
  expect_failures = [var.tls]
}

run "a_bad_name_for_tls" {
  command = plan
  variables {
    tls = { 443 = ["?.example.com"] }
  }
  expect_failures = [var.tls]
}

run "an_arn_for_tls" {
  command = plan
  variables {
    tls = { 443 = ["arn:aws:ssm:eu-west-2:111122223333:parameter/apps/acme/allow"] }
  }
  expect_failures = [var.tls]
}

run "null_for_a_name" {
  command = plan
  variables {
    tls = { 443 = ["api.example.com", null] }
  }
  expect_failures = [var.tls]
}

run "an_ssh_port_that_is_none" {
  command = plan
  variables {
    ssh = { 0 = ["git.example.com"] }
  }
  expect_failures = [var.ssh]
}

run "an_ssh_port_without_names" {
  command = plan
  variables {
    ssh = { 22 = [] }
  }
  expect_failures = [var.ssh]
}

run "a_bad_name_for_ssh" {
  command = plan
  variables {
    ssh = { 22 = ["git.example.com:22"] }
  }
  expect_failures = [var.ssh]
}

run "a_bad_reference_for_ssh" {
  command = plan
  variables {
    ssh = { 22 = ["@ssm:apps/acme/allow"] }
  }
  expect_failures = [var.ssh]
}

run "a_date_in_another_form" {
  command = plan
  variables {
    see_thru = "2027-1-5"
  }
  expect_failures = [var.see_thru]
}

run "an_empty_date" {
  command = plan
  variables {
    see_thru = ""
  }
  expect_failures = [var.see_thru]
}

run "a_day_that_there_is_not" {
  command = plan
  variables {
    see_thru = "2026-02-30"
  }
  expect_failures = [var.see_thru]
}

run "see_thru_that_has_ended_is_told" {
  command = plan
  variables {
    see_thru = "2020-12-31"
  }
  expect_failures = [check.see_thru]
}

run "see_thru_without_an_end_in_sight_is_told" {
  command = plan
  variables {
    see_thru = "9999-12-31"
  }
  expect_failures = [check.see_thru]
}

run "a_quota_that_is_none" {
  command = plan
  variables {
    rule_quota = 0
  }
  expect_failures = [var.rule_quota]
}
