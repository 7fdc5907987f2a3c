// Opens Swagger UI on this deployment's own description. Sluice's; the other files of this folder are vendored.
const place = document.getElementById("swagger-ui");
SwaggerUIBundle({ url: place.dataset.openapi, domNode: place, deepLinking: true, persistAuthorization: false });
