"""Tests of the Terraform module: its texts, its plans with a mocked provider, and what it makes in the emulator.

    from tests.terraform.terraform import Terraform

    def test_plan(tmp_path):                                    # skipped where there is no Terraform; CI fails then
        example = Terraform.copy(tmp_path, "examples/one-zone")     # a copy: the repository stays clean
        example.init()
        example.validate()
        assert example.test().ok                                # `terraform test`, in the copy

`python -m tests.terraform.plugins` finds or fetches the provider beforehand, as `make test-terraform` does: the tests
themselves run in an enclosure, which has no Internet.
"""
