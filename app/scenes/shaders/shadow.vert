#version 330
in vec3 position;
uniform mat4 model;
uniform mat4 shadow_matrix;
void main() {
    gl_Position = shadow_matrix * model * vec4(position, 1.0);
}
