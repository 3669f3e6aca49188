#version 330
in vec3 position;
in vec3 normal;
in float ambient;
in float material;
uniform mat4 model;
uniform mat4 view;
out vec3 world;
out vec3 local;
out vec3 facing;
out float open;
flat out int kind;
void main() {
    world = (model * vec4(position, 1.0)).xyz;
    local = position;
    facing = mat3(model) * normal;
    open = ambient;
    kind = int(material + 0.5);
    gl_Position = view * vec4(world, 1.0);
}
