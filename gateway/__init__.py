"""Plain HTTP in front of a pose server: `POST` a picture, receive JSON; and a page to try it."""
