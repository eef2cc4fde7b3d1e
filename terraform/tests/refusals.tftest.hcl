# What is refused at plan. A run for each validation, in the order of variables.tf; tests/terraform/test_module.py counts.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_subnet.public["eu-west-2a"]
  values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2a" }
}

variables {
  name   = "egress"
  vpc_id = "vpc-0a1b2c3d4e5f60718"
  zones  = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] } }
}

run "a_name_with_capitals" {
  command = plan

  variables {
    name = "Egress"
  }

  expect_failures = [var.name]
}

run "no_id_of_a_vpc" {
  command = plan

  variables {
    vpc_id = "main"
  }

  expect_failures = [var.vpc_id]
}

run "no_zone" {
  command = plan

  variables {
    zones = {}
  }

  expect_failures = [var.zones]
}

run "the_id_of_a_zone" {
  command = plan

  variables {
    zones = { euw2-az1 = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] } }
  }

  expect_failures = [var.zones]
}

run "no_id_of_a_subnet" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "public-a", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] } }
  }

  expect_failures = [var.zones]
}

run "a_zone_without_route_tables" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = [] } }
  }

  expect_failures = [var.zones]
}

run "no_id_of_a_route_table" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["private-a"] } }
  }

  expect_failures = [var.zones]
}

run "a_subnet_in_two_zones" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] }, eu-west-2b = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0b0b0b0b0b0b0b0b0"] } }
  }

  expect_failures = [var.zones]
}

run "a_route_table_in_two_zones" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] }, eu-west-2b = { public_subnet_id = "subnet-0b0b0b0b0b0b0b0b0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] } }
  }

  expect_failures = [var.zones]
}

run "no_id_of_an_elastic_ip" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"], eip = { allocation_id = "203.0.113.9" } } }
  }

  expect_failures = [var.zones]
}

run "an_elastic_ip_in_two_zones" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"], eip = { allocation_id = "eipalloc-0a0a0a0a0a0a0a0a0" } }, eu-west-2b = { public_subnet_id = "subnet-0b0b0b0b0b0b0b0b0", private_route_table_ids = ["rtb-0b0b0b0b0b0b0b0b0"], eip = { allocation_id = "eipalloc-0a0a0a0a0a0a0a0a0" } } }
  }

  expect_failures = [var.zones]
}

run "a_family_alone" {
  command = plan

  variables {
    instance_type = "t4g"
  }

  expect_failures = [var.instance_type]
}

run "neither_id_nor_version" {
  command = plan

  variables {
    ami = {}
  }

  expect_failures = [var.ami]
}

run "a_manifest_that_is_none" {
  command = plan

  variables {
    ami = { manifest = "./README.md" }
  }

  expect_failures = [var.ami]
}

run "a_manifest_of_somebody" {
  command = plan

  variables {
    ami = { manifest = "./tests/mocks/release.manifest.json", owner = "222233334444" }
  }

  expect_failures = [var.ami]
}

run "no_id_of_an_image" {
  command = plan

  variables {
    ami = { id = "discriminat" }
  }

  expect_failures = [var.ami]
}

run "no_owner_of_images" {
  command = plan

  variables {
    ami = { owner = "me", version = "0.1.0" }
  }

  expect_failures = [var.ami]
}

run "a_pattern_as_an_image_name" {
  command = plan

  variables {
    ami = { name = "discri*", version = "0.1.0" }
  }

  expect_failures = [var.ami]
}

run "half_a_version_without_auto_update" {
  command = plan

  variables {
    ami = { version = "0.1" }
  }

  expect_failures = [var.ami]
}

run "no_version_with_auto_update" {
  command = plan

  variables {
    ami = { version = "latest", auto_update = true }
  }

  expect_failures = [var.ami]
}

run "a_pinned_image_with_auto_update" {
  command = plan

  variables {
    ami = { id = "ami-0a1b2c3d4e5f60718", auto_update = true }
  }

  expect_failures = [var.ami]
}

run "a_disk_of_half_a_gibibyte" {
  command = plan

  variables {
    root_volume = { size_gib = 0.5 }
  }

  expect_failures = [var.root_volume]
}

run "an_alias_of_a_disk_key" {
  command = plan

  variables {
    root_volume = { kms_key_arn = "alias/disk" }
  }

  expect_failures = [var.root_volume]
}

run "no_such_verbosity" {
  command = plan

  variables {
    preferences = { flow_log_verbosity = "some" }
  }

  expect_failures = [var.preferences]
}

run "a_day_that_is_not_in_the_calendar" {
  command = plan

  variables {
    preferences = { see_thru = "2027-02-30" }
  }

  expect_failures = [var.preferences]
}

run "no_such_ech" {
  command = plan

  variables {
    preferences = { ech = "grease" }
  }

  expect_failures = [var.preferences]
}

run "no_such_syn_gate" {
  command = plan

  variables {
    preferences = { syn_gate = "ajar" }
  }

  expect_failures = [var.preferences]
}

run "no_such_wildcard_exposure" {
  command = plan

  variables {
    preferences = { wildcard_exposure = "some" }
  }

  expect_failures = [var.preferences]
}

run "no_such_x509_crls" {
  command = plan

  variables {
    preferences = { x509_crls = "all" }
  }

  expect_failures = [var.preferences]
}

run "a_pattern_of_crl_hosts" {
  command = plan

  variables {
    preferences = { x509_crl_hosts = ["*.example.com"] }
  }

  expect_failures = [var.preferences]
}

run "a_url_of_crls" {
  command = plan

  variables {
    preferences = { x509_crl_hosts = ["http://pki.example.com/a.crl"] }
  }

  expect_failures = [var.preferences]
}

run "a_client_network_by_another_address" {
  command = plan

  variables {
    preferences = { clients = ["10.9.1.0/16"] }
  }

  expect_failures = [var.preferences]
}

run "a_client_network_as_wide_as_the_internet" {
  command = plan

  variables {
    preferences = { clients = ["0.0.0.0/0"] }
  }

  expect_failures = [var.preferences]
}

run "a_private_network_by_another_address" {
  command = plan

  variables {
    preferences = { private_destinations = ["10.50.1.0/16"] }
  }

  expect_failures = [var.preferences]
}

run "a_link_local_network_as_private" {
  command = plan

  variables {
    preferences = { private_destinations = ["169.254.0.0/16"] }
  }

  expect_failures = [var.preferences]
}

run "a_private_network_wider_than_its_block" {
  command = plan

  variables {
    preferences = { private_destinations = ["172.0.0.0/8"] }
  }

  expect_failures = [var.preferences]
}

run "a_grace_of_more_than_a_week" {
  command = plan

  variables {
    preferences = { grace = 604801 }
  }

  expect_failures = [var.preferences]
}

run "a_poll_interval_of_nothing" {
  command = plan

  variables {
    preferences = { policy_poll_interval = 0 }
  }

  expect_failures = [var.preferences]
}

run "preferences_that_are_hardly_read" {
  command = plan

  variables {
    preferences = { preferences_interval = 3600 }
  }

  expect_failures = [var.preferences]
}

run "more_than_a_parameter_holds" {
  command = plan

  variables {
    preferences = { clients = [for number in range(256) : "10.${number}.0.0/16"] }
  }

  expect_failures = [var.preferences]
}

run "a_pattern_as_a_parameter" {
  command = plan

  variables {
    lists = { parameters = ["/apps/*"] }
  }

  expect_failures = [var.lists]
}

run "a_parameter_of_one_level_with_a_slash" {
  command = plan

  variables {
    lists = { parameters = ["/allow"] }
  }

  expect_failures = [var.lists]
}

run "the_arn_of_a_parameter_as_its_name" {
  command = plan

  variables {
    lists = { parameters = ["arn:aws:ssm:eu-west-2:111122223333:parameter/apps/acme/allow"] }
  }

  expect_failures = [var.lists]
}

run "a_parameter_of_aws" {
  command = plan

  variables {
    lists = { parameters = ["/aws/service/allow"] }
  }

  expect_failures = [var.lists]
}

run "a_pattern_as_a_secret" {
  command = plan

  variables {
    lists = { secrets = ["apps/acme/allow-??????"] }
  }

  expect_failures = [var.lists]
}

run "a_variable_of_policies_as_a_secret" {
  command = plan

  variables {
    lists = { secrets = ["apps/$${aws:username}"] }
  }

  expect_failures = [var.lists]
}

run "an_alias_with_capitals" {
  command = plan

  variables {
    lists = { elsewhere = { Central = "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central" } }
  }

  expect_failures = [var.lists]
}

run "a_pattern_as_a_parameter_elsewhere" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/*" } }
  }

  expect_failures = [var.lists]
}

run "parameters_of_every_region" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:ssm:*:222222222222:parameter/egress/central" } }
  }

  expect_failures = [var.lists]
}

run "a_pattern_as_a_secret_elsewhere" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:secretsmanager:eu-west-1:222222222222:secret:egress/central-??????" } }
  }

  expect_failures = [var.lists]
}

run "a_bucket_elsewhere" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:s3:::egress/central" } }
  }

  expect_failures = [var.lists]
}

run "a_secret_elsewhere_without_its_end" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:secretsmanager:eu-west-1:222222222222:secret:egress/central" } }
  }

  expect_failures = [var.lists]
}

run "an_alias_of_a_key_of_secrets" {
  command = plan

  variables {
    lists = { kms_keys = ["arn:aws:kms:eu-west-1:222222222222:alias/secrets"] }
  }

  expect_failures = [var.lists]
}

run "every_key_of_an_account" {
  command = plan

  variables {
    lists = { kms_keys = ["arn:aws:kms:eu-west-1:222222222222:key/*"] }
  }

  expect_failures = [var.lists]
}

run "a_retention_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    log = { retention_days = 100 }
  }

  expect_failures = [var.log]
}

run "an_alias_of_a_log_key" {
  command = plan

  variables {
    log = { kms_key_arn = "alias/logs" }
  }

  expect_failures = [var.log]
}

run "no_network_of_probes" {
  command = plan

  variables {
    health_check_cidrs = ["10.9.1.1"]
  }

  expect_failures = [var.health_check_cidrs]
}

run "probes_from_everywhere" {
  command = plan

  variables {
    health_check_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.health_check_cidrs]
}

run "the_name_of_a_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "a_tag_that_the_module_sets" {
  command = plan

  variables {
    tags = { Name = "mine" }
  }

  expect_failures = [var.tags]
}

run "the_name_of_a_topic" {
  command = plan

  variables {
    alarms = { sns_topic_arn = "on-call" }
  }

  expect_failures = [var.alarms]
}

run "half_a_minute" {
  command = plan

  variables {
    alarms = { not_ready_minutes = 0.5 }
  }

  expect_failures = [var.alarms]
}

run "fewer_than_no_drops" {
  command = plan

  variables {
    alarms = { queue_drops_per_minute = -1 }
  }

  expect_failures = [var.alarms]
}

run "more_than_all_of_the_processor" {
  command = plan

  variables {
    alarms = { cpu_percent = 101 }
  }

  expect_failures = [var.alarms]
}

run "a_subnet_of_another_vpc" {
  command = plan

  override_data {
    target = data.aws_subnet.public["eu-west-2a"]
    values = { vpc_id = "vpc-00000000000000000", availability_zone = "eu-west-2a" }
  }

  expect_failures = [aws_network_interface.this]
}

run "a_subnet_of_another_zone" {
  command = plan

  override_data {
    target = data.aws_subnet.public["eu-west-2a"]
    values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2b" }
  }

  expect_failures = [aws_network_interface.this]
}

run "a_route_table_of_another_vpc" {
  command = plan

  override_data {
    target = data.aws_route_table.private["eu-west-2a/0"]
    values = { vpc_id = "vpc-00000000000000000", associations = [] }
  }

  expect_failures = [aws_route.default]
}

run "the_table_of_the_public_subnet" {
  command = plan

  override_data {
    target = data.aws_route_table.private["eu-west-2a/0"]
    values = { vpc_id = "vpc-0a1b2c3d4e5f60718", associations = [{ gateway_id = "", main = false, route_table_association_id = "", route_table_id = "", subnet_id = "subnet-0a0a0a0a0a0a0a0a0" }] }
  }

  expect_failures = [aws_route.default]
}

run "a_type_of_another_architecture" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type.this
    values = { supported_architectures = ["i386"] }
  }

  expect_failures = [data.aws_ec2_instance_type.this]
}

run "a_manifest_without_the_architecture" {
  command = plan

  variables {
    ami = { manifest = "./tests/mocks/x86_64-only.manifest.json" }
  }

  expect_failures = [data.aws_ami_ids.this]
}

run "a_manifest_without_the_region" {
  command = plan

  variables {
    ami = { manifest = "./tests/mocks/release.manifest.json" }
  }

  override_data {
    target = data.aws_region.current
    values = { name = "ap-south-1" }
  }

  expect_failures = [data.aws_ami_ids.this]
}

run "an_image_that_nobody_published" {
  command = plan

  override_data {
    target = data.aws_ami_ids.this
    values = { ids = [] }
  }

  expect_failures = [data.aws_ami_ids.this]
}

run "an_image_of_another_architecture" {
  command = plan

  override_data {
    target = data.aws_ami.this
    values = { id = "ami-0a1b2c3d4e5f60718", architecture = "x86_64", root_device_name = "/dev/xvda", block_device_mappings = [] }
  }

  expect_failures = [data.aws_ami.this]
}

run "a_disk_too_small_for_the_image" {
  command = plan

  override_data {
    target = data.aws_ami.this
    values = { id = "ami-0a1b2c3d4e5f60718", architecture = "arm64", root_device_name = "/dev/xvda", block_device_mappings = [{ device_name = "/dev/xvda", ebs = { volume_size = "30" }, no_device = "", virtual_name = "" }] }
  }

  expect_failures = [data.aws_ami.this]
}

run "a_type_that_the_zone_has_not" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type_offerings.this
    values = { locations = ["eu-west-2c"] }
  }

  expect_failures = [aws_launch_template.this]
}

run "an_elastic_ip_in_use" {
  command = plan

  variables {
    zones = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"], eip = { allocation_id = "eipalloc-0a0a0a0a0a0a0a0a0" } } }
  }

  override_data {
    target = data.aws_eip.given["eu-west-2a"]
    values = { id = "eipalloc-0a0a0a0a0a0a0a0a0", association_id = "eipassoc-0a0a0a0a", network_interface_id = "eni-0f0f0f0f0f0f0f0f0" }
  }

  expect_failures = [aws_eip_association.this]
}

run "more_rights_than_a_policy_holds" {
  command = plan

  variables {
    lists = { parameters = [for number in range(200) : "/apps/acme-${number}/allow"] }
  }

  expect_failures = [aws_iam_role_policy.this]
}
