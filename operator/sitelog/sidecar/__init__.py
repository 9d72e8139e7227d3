"""What runs beside a job: a program that is sent as text to the job image's own Python."""
