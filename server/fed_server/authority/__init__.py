"""The consortium's certificate authority: it says which key is the server's and which key is whose site's."""
