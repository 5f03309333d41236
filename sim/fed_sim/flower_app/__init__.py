"""The federation as an app of stock Flower: its runtimes carry our sealed bytes, and nothing else changes.

`flwr run` starts `server:app` as ServerApp, and `client:app` as ClientApp once for each message, under a
SuperLink with SuperNodes or in Flower's simulation on Ray. For research and rehearsal: what the service's own
link adds, mutual TLS, a closed port and masks, stock Flower has not (decision 0031).
"""
