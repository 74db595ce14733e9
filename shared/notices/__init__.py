"""Notices: what an operator is told by webhook. Written with what they tell, sent later, retried, signed."""
