"""Tests of `python -m image publish`, against the lab's AWS API, with small disks.

    from tests.image.publish.account import Account
    from tests.image.publish.disks import Bakery

    account.publish(bakery.bake("arm64"))            # one run; what it says is in account.said
    account.fail("ebs", "PutSnapshotBlock", code="RequestThrottledException", times=3)
    account.calls("ebs", "PutSnapshotBlock")         # what was asked, with the arguments

AWS's side is the lab's emulator. What goes wrong is put in the way of the requests, where botocore sends them.
"""
