"""Speech without a network: finding turns, recognising requests, speaking. For the local service and for the rehearsal."""
