# One image for every worker and for the command line: `docker run … sevbus:0.1.0 conductor`.
# A version in full, as in compose.yaml: what was tested is what runs.
ARG NODE=node:22.23.2-bookworm-slim

FROM ${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY bundle.js tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM ${NODE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM ${NODE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json ./
COPY bin ./bin
# A named volume takes over the owner of the folder that it is mounted on.
RUN ln -s /app/bin/sevbus.js /usr/local/bin/sevbus \
 && chmod 755 /app/bin/sevbus.js \
 && install --directory --owner=node --group=node /var/lib/sevbus
USER node
ENTRYPOINT ["sevbus"]
CMD ["--help"]
