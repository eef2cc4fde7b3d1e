"""Groups of a TLS 1.3 key exchange that a quantum computer does not break.

Source: the IANA registry TLS Supported Groups, RFC 8446 section 4.2.7. The numbers are registered by
draft-ietf-tls-mlkem (512 to 514), draft-ietf-tls-ecdhe-mlkem (4587 to 4589, and the end of 25497 and
25498), draft-yang-tls-hybrid-sm2-mlkem (4590).
"""

from typing import Final

POST_QUANTUM: Final = frozenset(
    {
        512,  # MLKEM512
        513,  # MLKEM768
        514,  # MLKEM1024
        4587,  # SecP256r1MLKEM768
        4588,  # X25519MLKEM768
        4589,  # SecP384r1MLKEM1024
        4590,  # curveSM2MLKEM768
        25497,  # X25519Kyber768Draft00, obsolete
        25498,  # SecP256r1Kyber768Draft00, obsolete
    }
)
