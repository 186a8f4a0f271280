"""Wire formats, sans-IO: bytes in, requests and bytes out. Nothing here touches a descriptor."""
