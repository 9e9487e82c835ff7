"""What the tools that run the gateway on loopback share: build, start, measure, judge, draw.

Nothing of the daemon imports this; it imports nothing of the daemon.
"""
