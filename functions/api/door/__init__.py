"""What every request passes: its surroundings, whose it is, its body; and how a failure leaves."""
