"""Where the loops of virtual sites are, to be compiled ahead."""

UNPROTECTED = ("fed_client.loops.convolution", "fed_client.loops.gathering", "fed_server.folding")
PRIVATE = (*UNPROTECTED, "fed_client.noised_mean", "fed_common.normal_kernel")
