"""MatchaAI on the wire: its client, the bodies and answers it exchanges, its failures, and a stand-in server."""
