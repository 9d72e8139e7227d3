"""Process 3, `sitelog upload`: one captured error log to the FL server, as the courier."""
