#version 330
in vec2 corner;
uniform mat4 inverse_view;
out vec3 ray;
void main() {
    vec4 far = inverse_view * vec4(corner, 1.0, 1.0);
    vec4 near = inverse_view * vec4(corner, -1.0, 1.0);
    ray = far.xyz / far.w - near.xyz / near.w;
    gl_Position = vec4(corner, 0.99999, 1.0);
}
