in vec3 world;
in vec3 local;
in vec3 facing;
in float open;
flat in int kind;
out vec4 pixel;
uniform vec3 palette[24];
uniform float gloss[24];
uniform float glow[24];
void main() {
    if (world.y < -0.01) discard;
    vec3 n = normalize(facing);
    vec3 dents = vec3(noise(local.yz * 9.0 + grain), noise(local.zx * 9.0 + grain), noise(local.xy * 9.0 + grain)) - 0.5;
    n = normalize(n + 0.22 * dents * (1.0 - gloss[kind]));
    vec3 to_eye = normalize(eye - world);
    float seen = lit(world);
    vec3 c = shade(palette[kind], world, n, open, 0.28, seen);
    float shiny = 0.05 + 0.55 * gloss[kind];
    float sparkle = pow(max(dot(n, normalize(key_dir + to_eye)), 0.0), mix(14.0, 70.0, gloss[kind]));
    c += shiny * sparkle * key_colour * seen;
    vec3 to_lamp = normalize(lamp_pos - world);
    c += shiny * pow(max(dot(n, normalize(to_lamp + to_eye)), 0.0), 24.0) * lamp_colour * 0.12;
    float rim = pow(1.0 - max(dot(n, to_eye), 0.0), 3.0);
    c += rim * (0.16 + 0.5 * gloss[kind]) * sky_light * open * (0.4 + palette[kind]);
    c += palette[kind] * glow[kind];
    pixel = vec4(develop(c, length(eye - world)), 1.0);
}
